"""A web page that classifies recordings, and the same answers for programs: python3 app.py."""

import sys

from speech_emotion.commands.serve import main

if __name__ == "__main__":
    sys.exit(main())
