"""A web page that classifies recordings: python3 app.py, and open the address that it prints."""

import argparse
import base64
import io
import os
import signal
import socket
import sys
from contextlib import suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
MODELS = {"all eight emotions": "model.pt", "without sad": "model_sad_removed.pt"}
WHAT_IT_IS = (
    "Which emotion does a voice *play*? Learned from the actors of RAVDESS: no judgement of how a person really feels, "
    "and voices that it has not heard are much harder (see *Results* in README.md)."
)
PRIVACY = '<p class="summary">A recording is deleted as soon as its answer is here.</p>'
CSS = """
.gradio-container { max-width: 60rem !important; margin: auto; }
.html-container { padding: 0 !important; }
.summary { margin-bottom: .75rem; }
.summary a { text-decoration: underline; }
.recording { border: 1px solid var(--border-color-primary); border-radius: 4px; overflow-wrap: anywhere; }
.recording { margin-bottom: 1rem; padding: .75rem 1rem; }
.recording summary { cursor: pointer; font-size: 1.15rem; }
.recording .columns { display: grid; grid-template-columns: 3fr 2fr; gap: 1.5rem; margin-top: .75rem; }
.recording figure { margin: 0; }
.recording img { width: 100%; background: white; border-radius: 4px; }
.recording figcaption { font-size: .875rem; }
.recording ul { list-style: none; margin: 0; padding: 0; }
.recording li { display: grid; grid-template-columns: 5rem 1fr 3rem; align-items: center; line-height: 1.75; }
.recording li.first { font-weight: bold; }
.recording .track { background: var(--border-color-primary); border-radius: 2px; overflow: hidden; }
.recording .bar { background: #0173b2; height: .75rem; } /* plots.BLUE */
.recording .number { text-align: right; }
@media (max-width: 700px) { .recording .columns { grid-template-columns: 1fr; gap: .75rem; } }
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Classify the emotion of recordings on a web page.")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone). From another machine browsers give the "
        "microphone to HTTPS pages only",
    )
    parser.add_argument("--port", type=int, default=7860, help="default: 7860; 0 takes a free one")
    parser.add_argument(
        "--max-mb", type=int, default=200, metavar="N", help="largest recording, in megabytes (default: 200)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of recordings goes then, too
    try:
        with TemporaryDirectory(prefix="speech-emotion-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder
            serve(options)
    except KeyboardInterrupt:
        return 0
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        print("app.py: the page needs Gradio; pip install -r requirements-app.txt", file=sys.stderr)
        return 2
    except (OSError, OverflowError, ValueError) as error:
        print(f"app.py: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    return 0


def serve(options: argparse.Namespace) -> None:
    """Answer until Ctrl-C. Raises OSError for an address that cannot be had, CheckpointError for a missing model."""
    import gradio  # first, as it may be missing
    import uvicorn
    from fastapi import FastAPI

    from speech_emotion.evaluation.plots import use_style
    from speech_emotion.inference.predictor import Predictor

    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.create_server((options.host, options.port), family=family) as listening:
        use_style()
        predictors = {name: Predictor(HERE / file) for name, file in MODELS.items()}
        page = build_page(predictors, options.max_mb)
        page.has_launched = True  # without it a mounted page takes any path from a client, not only what was uploaded
        # Gradio's default, but for its weight 600, a file without small letters; fonts of Google's would be fetched.
        font = [gradio.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "sans-serif"]
        app = gradio.mount_gradio_app(
            FastAPI(),
            page,
            path="/",
            max_file_size=f"{options.max_mb}mb",
            theme=gradio.themes.Default(font=font),
            css=CSS,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
        )
        host, port = listening.getsockname()[:2]
        print(f"open http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C stops)", flush=True)
        # A page that is open in a browser keeps its connection, and would keep the server from ending.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listening])


def build_page(predictors: dict, max_mb: int):
    """The page; `predictors` by what the user chooses between."""
    import gradio

    # Uploads that no answer was waited for are looked for every ten minutes, and go after an hour.
    with gradio.Blocks(title="Speech emotion", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.Markdown(f"# Speech emotion\n\n{WHAT_IT_IS}")
        model = gradio.Radio(list(predictors), value=next(iter(predictors)), label="Model")
        with gradio.Row(equal_height=True):
            recorder = gradio.Audio(sources=["microphone"], type="filepath", label="Microphone", editable=False)
            files = gradio.File(
                file_count="multiple", label=f"One or several recordings, up to {max_mb} MB each", height=170
            )
        results = gradio.HTML(PRIVACY, apply_default_css=False)

    # Gradio's own would leave an empty file for each recording; this keeps the name that the user gave, too.
    files.preprocess = lambda uploads: [(file.path, file.orig_name) for file in uploads.root] if uploads else []
    progress = gradio.Progress()  # Gradio hands its own to those that have it as a default

    def answer(model: str, uploads: list[tuple[str, str]], progress=progress):
        try:
            return None, render(predictors[model], uploads, progress)
        finally:
            for path, _ in uploads:
                with suppress(OSError):
                    Path(path).unlink()
                    Path(path).parent.rmdir()  # Gradio gives each recording a folder

    def answer_recording(model: str, path: str, progress=progress):
        return answer(model, [(path, "recording.wav")], progress)

    with page:
        event = {"api_visibility": "private", "show_progress_on": results}
        files.upload(answer, [model, files], [files, results], **event)
        recorder.stop_recording(answer_recording, [model, recorder], [recorder, results], **event)
    return page


def render(predictor, uploads: list[tuple[str, str]], progress) -> str:
    """The HTML of the answer for recordings, each a path and the name that the user knows it by."""
    from speech_emotion.audio.reading import printable

    rows, cards = [], []
    answers = progress.tqdm(
        predictor.predict_windows([path for path, _ in uploads]),
        total=len(uploads),
        desc="Listening",
        unit="recordings",
    )
    for (path, name), (row, windows) in zip(uploads, answers, strict=True):
        row |= {"url": name, "error": row["error"].replace(printable(path), printable(name))}
        cards.append(render_error(row) if row["error"] else render_card(path, row, windows, predictor.labels))
        rows.append(row)
    table = base64.b64encode(write_table(rows, predictor.labels)).decode()
    n_failed = sum(bool(row["error"]) for row in rows)
    failed = f", {n_failed} without an emotion" if n_failed else ""
    return f"""<p class="summary" role="status">
            {len(rows)} recording{"s" if len(rows) > 1 else ""}{failed}.
            <a download="out.csv" href="data:text/csv;base64,{table}">Download the table (out.csv)</a>
        </p>
        {"".join(cards)}"""


def render_error(row: dict) -> str:
    return f'<div class="recording">{escape(row["url"])}: {escape(row["error"])}</div>'


def render_card(path: str, row: dict, windows: list[dict], labels: list[str]) -> str:
    bars = "".join(
        f"""<li{" class=first" if label == row["emotion"] else ""}>
            {label}
            <div class="track"><div class="bar" style="width: {row[label]:.1%}"></div></div>
            <span class="number">{row[label]:.0%}</span>
        </li>"""
        for label in labels
    )
    picture = base64.b64encode(draw(path, windows, labels)).decode()
    picture_of, caption = "Waveform", "Shaded: what was classified"
    if len(windows) > 1:
        picture_of += " above the emotions over time"
        caption = f"The mean over {len(windows)} windows of 3 s. Darker: more probable; orange: the emotion given"
    return f"""<details class="recording" open>
        <summary>{escape(row["url"])}: <b>{row["emotion"]}, {row["confidence"]:.0%}</b></summary>
        <div class="columns">
            <figure>
                <img alt="{picture_of}" src="data:image/png;base64,{picture}">
                <figcaption>{caption}</figcaption>
            </figure>
            <ul>{bars}</ul>
        </div>
    </details>"""


def draw(path: str, windows: list[dict], labels: list[str]) -> bytes:
    """The waveform as PNG, above the emotions over time when there is more than one window."""
    from matplotlib.figure import Figure

    from speech_emotion.evaluation.envelope import load_envelope, plot_envelope
    from speech_emotion.evaluation.plots import ORANGE, plot_timeline

    is_long = len(windows) > 1
    figure = Figure(figsize=(5, 3.6 if is_long else 2), layout="constrained")
    if is_long:
        ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
        plot_timeline(windows, labels, below)
        ax.axis("off")
    else:
        ax = figure.subplots()
        ax.axvspan(windows[0]["start"], windows[0]["end"], color=ORANGE, alpha=0.2)
    plot_envelope(*load_envelope(path), ax)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def write_table(rows: list[dict], labels: list[str]) -> bytes:
    """out.csv, as eval.py writes it."""
    from speech_emotion.inference.table import Table

    with TemporaryDirectory() as folder:
        with Table(Path(folder) / "out.csv", ["url", "emotion", "confidence", *labels, "error"]) as table:
            table.write(rows)
            table.finish()
        return table.path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
