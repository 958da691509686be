"""Train a model on RAVDESS or on your own recordings, and test it on held-out clips."""

import os
from argparse import Namespace, RawDescriptionHelpFormatter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table
from speech_emotion.terminal import DEVICES, Parser, count, program, say

CACHE = Path(".cache")
EPILOG = """\
{0}                         model.pt, all eight emotions
{0} --drop sad              model_sad_removed.pt
{0} --split 1               another split; add --out to keep the checkpoint
{0} --fold 0                speaker-independent: five folds by actor, 0 to 4
{0} --fold emobox:0         EmoBox's six folds, 0 to 5, tested on speech; with --spoken also trained on speech only, as
                            in EmoBox
{0} --drop sad --schedule cosine_warm_restarts    the other schedule
{0} --network any-voice     model_any_voice.pt; --split, --fold and --drop as above
{0} --labels mine.csv --out mine.pt    your own labels; columns path, emotion and, optionally, speaker

--network any-voice and --labels FILE have options of their own: add --help to see them.
With other settings, or an incomplete RAVDESS, a run gets another name under results/; its checkpoint is written only
with --out.
"""
NETWORK_OPTIONS: dict[str, dict[str, dict]] = {  # what only one network takes
    "cnn": {
        "--epochs": {"type": int, "metavar": "N", "help": "(default: as for the published models)"},
        "--schedule": {"metavar": "NAME", "help": "learning rate schedule (default: one_cycle)"},
    },
    "any-voice": {
        "--encoder": {"metavar": "FILE", "help": "OpenAI's base.pt (default: the blocks in model_any_voice.pt)"},
        "--without-nemo": {"action": "store_true", "help": "train on RAVDESS only"},
    },
}


@dataclass(frozen=True)
class RavdessOptions:
    """A run on RAVDESS."""

    data: str
    out: str | None
    results: str
    device: str
    network: str
    settings: dict  # of the network's recipe, where they are not those of the published models
    drop: list[str]
    split: int
    fold: tuple[str, int] | None  # the name of the folds, and the one held out
    spoken: bool
    shuffle_labels: bool


@dataclass(frozen=True)
class LabelsOptions:
    """A run on the user's own recordings."""

    labels: str
    out: str
    results: str
    device: str
    seed: int
    start: str | None


def parse_arguments(arguments: list[str] | None, name: str = "train.py") -> RavdessOptions | LabelsOptions:
    chosen = Parser(prog=name, add_help=False)  # which of the parsers to use
    chosen.add_argument("--labels")
    chosen.add_argument("--network", choices=list(NETWORK_OPTIONS), default="cnn")
    kind, _ = chosen.parse_known_args(arguments)
    epilog = EPILOG.format(name)
    parser = Parser(prog=name, description=__doc__, epilog=epilog, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", default="auto", choices=DEVICES)
    add("--seed", type=int, metavar="N", help="seed of weights, order and augmentation (default: 0)")
    if kind.labels:
        add("--labels", metavar="FILE", help="CSV table of your own recordings: path, emotion, speaker")
        add("--start", metavar="FILE", help="the model to start from, or none (default: model_any_voice.pt)")
        add("--out", required=True, metavar="FILE", help="checkpoint to write")
        add("--results", metavar="FOLDER", help="(default: OUT-results beside OUT)")
        options = vars(_parse(parser, arguments, "--labels"))
        results = options["results"] or f"{Path(options['out']).with_suffix('')}-results"
        return LabelsOptions(**options | {"results": results, "seed": options["seed"] or 0})
    add("--data", default="data", metavar="FOLDER", help="where RAVDESS is (default: data)")
    add("--network", choices=list(NETWORK_OPTIONS), default="cnn", help="(default: cnn)")
    add("--drop", action="append", choices=EMOTIONS, default=[], help="leave an emotion out")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--split", type=int, default=0, metavar="N", help="random_state of the 80/20 split (default: 0)")
    fold = "hold out a fold of actors instead: 0 to 4, or emobox:0 to emobox:5"
    split.add_argument("--fold", type=_fold, metavar="N", help=fold)
    add("--spoken", action="store_true", help="train and test without sung clips (and, for any-voice, without nEMO)")
    add("--shuffle-labels", action="store_true", help="control experiment: train on shuffled labels")
    add("--out", metavar="FILE", help="checkpoint to write (default: for the published models, their file)")
    add("--results", default="results", metavar="FOLDER", help="(default: results)")
    names = [add(flag, **argument).dest for flag, argument in NETWORK_OPTIONS[kind.network].items()]
    options = vars(_parse(parser, arguments, f"--network {kind.network}"))
    settings = {name: value for name in ("seed", *names) if (value := options.pop(name)) is not None}
    return RavdessOptions(**options, settings=settings)


def _parse(parser: Parser, arguments: list[str] | None, kind: str) -> Namespace:
    options, foreign = parser.parse_known_args(arguments)
    if foreign:
        parser.error(f"{kind} does not take {' '.join(foreign)}")
    return options


def _fold(text: str) -> tuple[str, int]:
    """N or emobox:N."""
    folds, _, number = text.rpartition(":")
    return folds or "fold", int(number)


def main(arguments: list[str] | None = None, name: str = "train.py") -> int:
    with program(name, (OSError, ValueError)) as ending:
        options = parse_arguments(arguments, name)
        os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, so no display is needed
        if isinstance(options, LabelsOptions):
            train_on_labels(options)
        else:
            train_on_ravdess(options)
    return ending.status


def train_on_ravdess(options: RavdessOptions) -> None:
    """Train on a split or fold, classify the held-out clips as eval.py does, and write the results."""
    from speech_emotion.outputs import locked_outputs
    from speech_emotion.training.runs import Run, carry_out, recipe_of

    clips = clip_table(options.data)
    problems = check_table(clips)
    for problem in problems:
        say(f"warning: {problem}; the splits differ from the published ones", is_error=True)
    recipe = recipe_of(options.network).from_options(
        options.data, options.shuffle_labels, options.spoken, **options.settings
    )
    drop = tuple(emotion for emotion in EMOTIONS if emotion in options.drop)
    folds, fold = options.fold or ("fold", None)
    run = Run(recipe, drop, options.split, fold, folds, options.spoken, options.shuffle_labels, bool(problems))
    out = options.out or run.file
    outputs = [*run.files(options.results).values(), *filter(None, [out])]
    corpora = chain.from_iterable(table["path"] for table in (clips, *run.recipe.other_corpora))
    inputs = [*filter(None, [options.settings.get("encoder")]), *corpora]
    with locked_outputs(outputs, inputs, make_folders=True):
        parts = run.parts(clips).items()
        say(f"{run.name}: " + ", ".join(f"{len(part)} {name} clips" for name, part in parts))
        outcome = carry_out(run, clips, options.device, CACHE)
        metrics = outcome.checkpoint.metrics
        say(f"held-out clips: accuracy {metrics['accuracy']:.4f}, UAR {metrics['uar']:.4f}")
        outcome.write(options.results, out)
    if out:
        say(f"wrote {out}")


def train_on_labels(options: LabelsOptions) -> None:
    """Train a model for the user's own labels: test it on held-out recordings, then train on all of them."""
    from speech_emotion.models.published import find_model
    from speech_emotion.outputs import locked_outputs
    from speech_emotion.training.own_labels import RESULTS, read_training_table, start_of, train_own

    committed = find_model("model_any_voice.pt")
    start = start_of(options.start or committed, committed)
    clips = read_training_table(options.labels, start.labels)
    inputs = [options.labels, committed, *filter(None, [options.start]), *clips["path"]]
    outputs = [*(Path(options.results, name) for name in RESULTS), options.out]
    with locked_outputs(outputs, inputs, make_folders=True):
        left_out = f" ({n} without an emotion left out)" if (n := clips.attrs.get("n_without_emotion")) else ""
        say(f"{options.labels}: {count(len(clips), 'recording')}{left_out}, {clips['emotion'].nunique()} labels")
        model = train_own(clips, start, options.device, options.seed)
        model.checkpoint.split = {"name": Path(options.labels).name, "test": []}  # it is trained on all recordings
        say(model.report)
        model.write(options.results, options.out)
    say(f"wrote {options.out}, trained on all recordings; the held-out predictions are in {options.results}")
