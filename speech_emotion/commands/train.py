"""Train a model on RAVDESS or on your own recordings, and test it on held-out clips."""

import argparse
import os
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.commands.options import Parser
from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table
from speech_emotion.terminal import program, say

if TYPE_CHECKING:  # slow to import
    from speech_emotion.training.runs import Recipe

HERE = Path()  # data, results, caches and the models lie in the current folder
RESULTS = HERE / "results"
# Options that cannot be combined with --labels.
NOT_OWN = (
    "network", "without_nemo", "drop", "split", "fold", "spoken", "epochs", "schedule", "shuffle_labels",
)  # fmt: skip

EPILOG = """\
python3 train.py                         model.pt, all eight emotions
python3 train.py --drop sad              model_sad_removed.pt
python3 train.py --split 1               another split; add --out to keep the checkpoint
python3 train.py --fold 0                speaker-independent: five folds by actor, 0 to 4
python3 train.py --fold emobox:0         EmoBox's six folds, 0 to 5, tested on speech; with --spoken also trained on
                                         speech only, as in EmoBox
python3 train.py --drop sad --schedule cosine_warm_restarts    the other schedule
python3 train.py --network any-voice     model_any_voice.pt; --split, --fold and --drop as above
python3 train.py --labels mine.csv --out mine.pt    your own labels; columns path, emotion and, optionally, speaker

With other settings, or an incomplete RAVDESS, a run gets another name under results/; its checkpoint is written only
with --out.
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=HERE / "data", metavar="FOLDER", help="where RAVDESS is (default: data)")
    parser.add_argument("--labels", metavar="FILE", help="CSV table of your own recordings: path, emotion, speaker")
    parser.add_argument("--with-ravdess", action="store_true", help="also train on RAVDESS, for the labels in --labels")
    parser.add_argument("--network", default="cnn", metavar="NAME", help="cnn or any-voice (default: cnn)")
    parser.add_argument(
        "--encoder", metavar="FILE", help="OpenAI's base.pt, for any-voice (default: the blocks in model_any_voice.pt)"
    )
    parser.add_argument("--without-nemo", action="store_true", help="train any-voice on RAVDESS only")
    parser.add_argument("--drop", action="append", choices=EMOTIONS, default=[], help="leave an emotion out")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--split", type=int, default=0, metavar="N", help="random_state of the 80/20 split (default: 0)")
    split.add_argument(
        "--fold", type=fold, metavar="N", help="hold out a fold of actors instead: 0 to 4, or emobox:0 to emobox:5"
    )
    parser.add_argument(
        "--spoken", action="store_true", help="train and test without sung clips (and, for any-voice, without nEMO)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="checkpoint to write (default: for the published models, their file)"
    )
    parser.add_argument("--results", metavar="FOLDER", help="(default: results; with --labels, OUT-results beside OUT)")
    parser.add_argument("--epochs", type=int, metavar="N", help="(default: as for the published models)")
    parser.add_argument("--schedule", metavar="NAME", help="learning rate schedule (default: one_cycle)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of weights, order and augmentation (default: 0)")
    parser.add_argument("--shuffle-labels", action="store_true", help="control experiment: train on shuffled labels")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    options = parser.parse_args(arguments)
    if options.labels:
        given = [name for name in NOT_OWN if getattr(options, name) != parser.get_default(name)]
        if given:
            parser.error(f"--labels cannot be combined with {', '.join(given)}")
        if not options.out:
            parser.error("--labels needs --out FILE, the model to write")
    elif options.with_ravdess:
        parser.error("--with-ravdess needs --labels")
    options.results = options.results or (f"{Path(options.out).with_suffix('')}-results" if options.labels else RESULTS)
    return options


def fold(text: str) -> dict:
    """N or emobox:N → the arguments of Run."""
    folds, _, number = text.rpartition(":")
    return {"fold": int(number)} | ({"folds": folds} if folds else {})


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main(arguments: list[str] | None = None) -> int:
    with program("train.py", (OSError, ValueError)) as ending:
        options = parse_arguments(arguments)
        os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, so no display is needed
        run(options)
    return ending.status


def recipe_for(options: argparse.Namespace) -> "Recipe":
    """The recipe of the network, with the options that were given. Raises ValueError for one of another network."""
    from speech_emotion.training.runs import recipe_of

    kind = recipe_of(options.network)
    given = {name: getattr(options, name) for name in ("epochs", "schedule", "encoder", "without_nemo", "seed")}
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    if foreign := sorted(given.keys() - signature(kind.from_options).parameters.keys()):
        raise ValueError(f"--network {options.network} does not take {', '.join(map(flag, foreign))}")
    return kind.from_options(options.data, options.shuffle_labels, options.spoken, **given)


def run(options: argparse.Namespace) -> None:
    """Train on a split or on the user's table, classify the held-out clips as eval.py does, and write the results."""
    if options.labels:
        learn_own(options)
        return
    from speech_emotion.evaluation.results import result_files
    from speech_emotion.inference.table import locked_outputs
    from speech_emotion.training.runs import Run, carry_out

    recipe = recipe_for(options)
    clips = clip_table(options.data)
    problems = check_table(clips)
    for problem in problems:
        say(f"warning: {problem}; the splits differ from the published ones", is_error=True)
    run = Run(
        recipe,
        drop=tuple(emotion for emotion in EMOTIONS if emotion in options.drop),
        split=options.split,
        **options.fold or {},
        spoken=options.spoken,
        shuffle_labels=options.shuffle_labels,
        partial=bool(problems),
    )
    out = options.out or (run.file and HERE / run.file)
    outputs = [*result_files(options.results, run.name).values(), *filter(None, [out])]
    inputs = [*filter(None, [options.encoder]), *chain.from_iterable(each["path"] for each in (clips, *recipe.others))]
    with locked_outputs(outputs, inputs):
        parts = run.parts(clips).items()
        say(f"{run.name}: " + ", ".join(f"{len(part)} {name} clips" for name, part in parts))
        outcome = carry_out(run, clips, options.device, HERE / ".cache")
        metrics = outcome.checkpoint.metrics
        say(f"held-out clips: accuracy {metrics['accuracy']:.4f}, UAR {metrics['uar']:.4f}")
        outcome.write(options.results, out)
    if out:
        say(f"wrote {out}")


def learn_own(options: argparse.Namespace) -> None:
    """Train a model for the user's own labels: test it on held-out recordings, then train on all of them."""
    from speech_emotion.inference.table import locked_outputs
    from speech_emotion.training.any_voice import encoder_of
    from speech_emotion.training.own_labels import RESULTS, read_training_data, train_own

    data = read_training_data(options.labels, clip_table(options.data) if options.with_ravdess else None)
    encoder = options.encoder or HERE / "model_any_voice.pt"
    inputs = [options.labels, encoder, *data.clips["path"]]
    if data.ravdess is not None:
        inputs += [*data.ravdess["path"]]
    with locked_outputs([*(Path(options.results, name) for name in RESULTS), options.out], inputs):
        say(data)
        model = train_own(data, encoder_of(options.encoder), options.device, HERE / ".cache", options.seed or 0)
        say(model.report)
        model.write(options.results, options.out)
    say(f"wrote {options.out}, trained on all recordings; the held-out predictions are in {options.results}")
