"""Train a model on RAVDESS or on your own recordings, and test it on held-out clips."""

import sys

from speech_emotion.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
