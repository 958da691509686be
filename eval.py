"""Classify the emotion of recordings: python3 eval.py [PATH ...] reads them and writes out.csv."""

import sys

from speech_emotion.commands.classify import main

if __name__ == "__main__":
    sys.exit(main())
