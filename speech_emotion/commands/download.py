"""Download a corpus from its publisher into data/."""

from pathlib import Path

from speech_emotion.corpora.download import CORPORA, download
from speech_emotion.terminal import Parser, program, say


def main(arguments: list[str] | None = None, name: str = "download") -> int:
    parser = Parser(prog=name, description=__doc__)
    parser.add_argument("corpus", nargs="?", choices=CORPORA, default="ravdess", help="(default: ravdess)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER", help="(default: data)")
    parser.add_argument("--base-url", metavar="URL", help="a mirror of the corpus's archives")
    with program(name) as ending:
        options = parser.parse_args(arguments)
        ending.when_stopped = lambda: "run the same command again to resume"
        archives = CORPORA[options.corpus]
        fetched = download(archives, options.data, options.base_url)
        say(f"{archives[0].corpus} is complete under {options.data}" + ("" if fetched else "; there was nothing to do"))
    return ending.status
