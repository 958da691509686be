"""The tables and pictures of the documents, computed from the committed results; needs no audio."""

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from research import (
    REPOSITORY,
    parser_of,
    report_adaptation,
    report_conversations,
    report_groups,
    report_others,
    report_own,
    report_tables,
)
from research.report_plots import plot_actors, plot_adaptation
from research.report_tables import UNSEEN, Runs, pooled, tables_of
from speech_emotion.evaluation.metrics import accuracy, read_predictions
from speech_emotion.evaluation.plots import (
    plot_confusion,
    plot_history,
    plot_recalls,
    plot_reliability,
    plot_schedules,
    save_picture,
    use_style,
)
from speech_emotion.evaluation.results import result_files, write_run_picture
from speech_emotion.models.published import PUBLISHED
from speech_emotion.terminal import program

SCHEDULE_RUNS = {"one cycle": "random7-split0", "cosine, warm restarts": "random7-split0-cosine_warm_restarts"}
OTHERS = (
    "robustness.csv",
    "adaptation-ravdess.csv",
    "adaptation-emodb.csv",
    "development.csv",
    "own-labels-emodb.csv",
    "conversations.csv",
)


def main() -> None:
    with program("research.report", (OSError, ValueError)) as ending:
        options = parser_of(__doc__).parse_args()
        write_report(options.results, REPOSITORY)
    sys.exit(ending.status)


def write_report(results: str | Path, repository: str | Path) -> None:
    """Write `results/figures` and replace the text between the markers of the documents.

    Raises FileNotFoundError or ValueError, before anything is written, if a result or a marker is missing.
    """
    results = Path(results)
    runs = {path.stem: read_predictions(path) for path in sorted(Path(results, "predictions").glob("*.csv"))}
    needed = [result_files(results, published.run)["predictions"] for published in PUBLISHED]
    needed += [result_files(results, name)["histories"] for name in {*SCHEDULE_RUNS.values(), PUBLISHED[0].run}]
    needed += [results / name for name in OTHERS]
    if missing := sorted(str(path) for path in needed if not path.exists()):
        raise FileNotFoundError(
            f"the report needs {', '.join(missing)}; results/README.md names the commands that write them"
        )
    for prefix in (*UNSEEN.values(), *(prefix for *_, prefix in report_others.EMOBOX_RUNS)):
        if not tables_of(runs, prefix):
            raise FileNotFoundError(
                f"there is no {prefix} in {results}/predictions; results/README.md names the command that writes it"
            )
    tables = {name: pd.read_csv(results / name, dtype={"speaker": str, "partition": str}) for name in OTHERS}
    documents = {}
    for path, texts in texts_of(runs, tables, results, Path(repository)).items():
        documents[path] = path.read_text(encoding="utf-8")
        for marker, text in texts.items():
            try:
                documents[path] = replace_between_markers(documents[path], marker, text)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    write_figures(runs, tables, results)
    for path, document in documents.items():
        part = path.with_name(f"{path.name}.part")
        part.write_text(document, encoding="utf-8")
        part.replace(path)


def texts_of(
    runs: Runs, tables: dict[str, pd.DataFrame], results: Path, repository: Path
) -> dict[Path, dict[str, str]]:
    """The text for each marker of each document."""
    folders = _folders(tables)
    own = tables["own-labels-emodb.csv"]
    return {
        repository / "README.md": {
            "strangers": report_tables.strangers_table(runs),
            "conversations": report_conversations.conversations_sentence(tables["conversations.csv"]),
            "adaptation": report_adaptation.adaptation_sentence(folders),
            "own": report_own.own_sentence(own),
            "checkpoints": report_tables.checkpoints_table(runs),
            "results": report_tables.results_table(runs, questions=report_tables.BRIEFLY),
            "emobox": report_others.emobox_columns(runs),
            "others": report_others.others_paragraph(runs),
            "men": report_groups.men_sentence(runs),
        },
        repository / "MODEL_CARD.md": {
            **{channel: report_groups.groups_table(runs, channel) for channel in report_tables.CHANNELS},
            "differences": report_groups.differences_table(runs),
            "intersections": report_groups.intersections_table(runs),
            "calibration": report_groups.calibration_table(runs),
            "robustness": report_tables.robustness_table(tables["robustness.csv"]),
            "adaptation": report_adaptation.adaptation_table(folders),
            "safeguard": report_adaptation.safeguard_sentence(tables["development.csv"]),
        },
        repository / "docs" / "own-labels.md": {"own": report_own.own_table(own)},
        results / "README.md": {
            "uar": report_tables.results_table(runs),
            "accuracy": report_tables.results_table(runs, accuracy),
            "known": report_others.known_table(runs),
            "unseen": report_others.unseen_table(runs),
            "emobox": report_others.emobox_table(runs),
            "choices": report_groups.choices_table(runs),
            "temperature": report_groups.temperature_table(runs),
            "emodb": report_groups.emodb_table(runs),
            "conversations": report_conversations.conversations_table(tables["conversations.csv"]),
        },
    }


def _folders(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        "RAVDESS, unseen actors' speech": tables["adaptation-ravdess.csv"],
        "EmoDB": tables["adaptation-emodb.csv"],
    }


def write_figures(runs: Runs, tables: dict[str, pd.DataFrame], results: Path) -> None:
    use_style()
    figures = results / "figures"
    figures.mkdir(exist_ok=True)
    histories = {name: result_files(results, name)["histories"] for name in {*runs, *SCHEDULE_RUNS.values()}}
    histories = {name: pd.read_csv(path) for name, path in histories.items() if path.exists()}
    eight, seven, _ = PUBLISHED
    both = {published.title: runs[published.run] for published in (eight, seven)}
    short = dict(zip(("model.pt", "any voice", "any voice, --adapt"), UNSEEN.values(), strict=True))
    pictures = {
        "schedules": plot_schedules({title: histories[name] for title, name in SCHEDULE_RUNS.items()}),
        "confusion-eight": plot_confusion(runs[eight.run], eight.file),
        "confusion-without-sad": plot_confusion(runs[seven.run], seven.file),
        "recalls": plot_recalls(both),
        "reliability": plot_reliability(both),
        "learning-curves": plot_history(histories[eight.run]),
        "actors": plot_actors({name: pooled(runs, prefix) for name, prefix in short.items()}),
        "adaptation": plot_adaptation(_folders(tables)),
    }
    for name, figure in pictures.items():
        save_picture(figure, figures / f"{name}.png")
        plt.close(figure)
    for name, predictions in runs.items():
        if name in histories:
            write_run_picture(results, name, histories[name], predictions)


def replace_between_markers(document: str, marker: str, text: str) -> str:
    """`document` with `text` between <!-- marker --> and <!-- /marker -->.

    Raises ValueError unless there is exactly one such pair.
    """
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    replaced, n = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"there must be exactly one pair of {begin} and {end}")
    return replaced


if __name__ == "__main__":
    main()
