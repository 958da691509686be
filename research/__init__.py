"""What proves the numbers of README.md, MODEL_CARD.md and results/README.md.

Every file is a command, such as `python3 -m research.report`. The package imports nothing from here.
"""

import argparse
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def parser_of(description: str) -> argparse.ArgumentParser:
    """A parser with the options that most commands have: --data, --cache, --results, --device."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER", help="(default: data)")
    parser.add_argument("--cache", default=REPOSITORY / ".cache", metavar="FOLDER", help="(default: .cache)")
    parser.add_argument("--results", default=REPOSITORY / "results", type=Path, metavar="FOLDER")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    return parser
