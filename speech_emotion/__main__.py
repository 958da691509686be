"""The command speech-emotion, or python3 -m speech_emotion where it is not installed."""

import sys
from importlib import import_module

COMMANDS = {
    "eval": "speech_emotion.commands.classify",
    "train": "speech_emotion.commands.train",
    "serve": "speech_emotion.commands.serve",
    "compare": "speech_emotion.commands.compare",
    "download": "speech_emotion.commands.download",
    "export": "speech_emotion.commands.export",
}


def main(arguments: list[str] | None = None) -> int:
    """The command that the first argument names, else eval; a folder of that name is written ./train."""
    given = sys.argv[1:] if arguments is None else arguments
    name, options = (given[0], given[1:]) if given and given[0] in COMMANDS else ("eval", given)
    return import_module(COMMANDS[name]).main(options)


if __name__ == "__main__":
    sys.exit(main())
