"""The files of a run: its split, learning curve, predictions and picture."""

from pathlib import Path

import pandas as pd

from speech_emotion.evaluation.plots import plot_run, save_picture, use_style


def result_files(folder: str | Path, name: str) -> dict[str, Path]:
    """The files of a run: splits, histories and predictions, each KIND/NAME.csv, and its picture."""
    tables = {kind: Path(folder, kind, f"{name}.csv") for kind in ("splits", "histories", "predictions")}
    return tables | {"picture": Path(folder, "figures", "runs", f"{name}.png")}


def write_results(
    folder: str | Path,
    name: str,
    parts: dict[str, pd.DataFrame],
    history: pd.DataFrame | None,
    predictions: pd.DataFrame,
    adapted: pd.DataFrame | None = None,
) -> None:
    """Write the `result_files` of a run: split, learning curve (if any) and predictions.

    All files are written before the first one gets its final name.
    """
    split = pd.concat([clips[["clip"]].assign(part=part) for part, clips in parts.items()]).sort_values("clip")
    files = result_files(folder, name)
    tables = {"splits": split, "predictions": predictions}
    if adapted is not None:
        files["adapted"] = Path(folder, "predictions", f"{name}-adapted.csv")
        tables["adapted"] = adapted
    if history is not None:
        tables["histories"] = history
    for kind, table in tables.items():
        files[kind].parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(f"{files[kind]}.part", index=False, float_format="%.5f")
    if history is not None:
        write_run_picture(Path(folder), name, history, predictions)
    for kind in tables:
        Path(f"{files[kind]}.part").replace(files[kind])


def write_run_picture(results: Path, name: str, history: pd.DataFrame, predictions: pd.DataFrame) -> None:
    use_style()
    path = result_files(results, name)["picture"]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(plot_run(history, predictions, name), path)
