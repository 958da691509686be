"""Download a corpus from its publisher into data/."""

from pathlib import Path

from speech_emotion.commands.options import Parser
from speech_emotion.corpora.download import ARCHIVES, CORPORA, DownloadError, download
from speech_emotion.terminal import program, say


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description="Download a corpus from its publisher.")
    parser.add_argument("corpus", nargs="?", choices=CORPORA, default="ravdess", help="(default: ravdess)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER", help="(default: data)")
    parser.add_argument("--base-url", metavar="URL", help="a mirror of the corpus's archives")
    parser.add_argument("--keep-archives", action="store_true", help=f"keep FOLDER/{ARCHIVES} after unpacking")
    options = parser.parse_args(arguments)
    archives = CORPORA[options.corpus]
    with program("download", (DownloadError, OSError)) as ending:
        ending.when_stopped = lambda: "run the same command again to resume"
        fetched = download(archives, options.data, options.base_url, options.keep_archives)
        say(f"{archives[0].corpus} is complete under {options.data}" + ("" if fetched else "; there was nothing to do"))
    return ending.status
