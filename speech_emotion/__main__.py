"""The command speech-emotion, or python3 -m speech_emotion where it is not installed."""

import sys
from importlib import import_module

COMMANDS = {
    "eval": ("classify", "classify recordings; this is what speech-emotion PATH does"),
    "train": ("train", "train a model on RAVDESS or on your own recordings"),
    "serve": ("serve", "the web page, and the same answers for programs"),
    "compare": ("compare", "tell which of two models is better"),
    "download": ("download", "download a corpus"),
    "export": ("export", "export a model to ONNX"),
}


def main(arguments: list[str] | None = None, program: str = "speech-emotion") -> int:
    """The command that the first argument names, else eval; a recording of that name is ./train."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in (["--help"], ["-h"]):
        print(f"{program} COMMAND; each has a --help of its own, and {program} --version says which version this is")
        for name, (_, text) in COMMANDS.items():
            print(f"  {name:<10} {text}")
        return 0
    if arguments and arguments[0] in COMMANDS:
        name, *arguments = arguments
        return import_module(f"speech_emotion.commands.{COMMANDS[name][0]}").main(arguments, f"{program} {name}")
    return import_module("speech_emotion.commands.classify").main(arguments, program)


if __name__ == "__main__":
    sys.exit(main(program="python3 -m speech_emotion"))
