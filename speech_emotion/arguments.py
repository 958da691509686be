"""What the command lines share."""

import argparse
from typing import NoReturn

from speech_emotion.terminal import printable


class Parser(argparse.ArgumentParser):
    """One whose errors show what was given, and execute none of it."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)
