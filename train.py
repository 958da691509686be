"""Train a model on RAVDESS, or on recordings of your own, and measure it on the clips that it has not seen."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib

from speech_emotion.corpora import emodb, nemo
from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.evaluation.metrics import accuracy, calm_as_neutral, prediction_table, uar
from speech_emotion.evaluation.report import write_report
from speech_emotion.evaluation.results import PUBLISHED
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.any_voice import AnyVoiceSettings
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.whisper import WhisperEncoder, WhisperFeatures, load_encoder
from speech_emotion.training.loop import SCHEDULES
from speech_emotion.training.own import RESULTS as OWN_RESULTS
from speech_emotion.training.own import learn, read_lesson
from speech_emotion.training.runs import (
    NETWORKS,
    Run,
    adapted_predictions,
    carry_out,
    check_places,
    check_writable,
    published_settings,
)

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# What a run on RAVDESS has, and one on the user's table has not.
NOT_OWN = (
    "command", "network", "without_nemo", "drop", "split", "fold", "epochs", "schedule", "shuffle_labels",
)  # fmt: skip

EPILOG = """\
python3 train.py                         model.pt, all eight emotions
python3 train.py --drop sad              model_sad_removed.pt
python3 train.py --split 1               another split; with --out, a checkpoint of it
python3 train.py --fold 0                speaker-independent: five folds of actors, 0 to 4
python3 train.py --drop sad --schedule cosine_warm_restarts    the other schedule
python3 train.py --network any-voice     model_any_voice.pt; --split, --fold and --drop as above
python3 train.py --labels mine.csv --out mine.pt    your own emotions; mine.csv has path, emotion, perhaps speaker
python3 train.py emodb                   model.pt and model_any_voice.pt on EmoDB, a corpus that neither has heard
python3 train.py check                   the checkpoints over their own test clips
python3 train.py robustness              model.pt and model_any_voice.pt on noisy, quiet, coded, reverberant test clips
python3 train.py report                  the tables and pictures of the README, from results/

A run with other settings than these, or without all of RAVDESS, has another name under results/, and no checkpoint
without --out.
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    defaults, control = published_settings(), published_settings(shuffle_labels=True)
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), default="train", help="(default: train)")
    parser.add_argument("--data", default=HERE / "data", metavar="FOLDER", help="where RAVDESS is (default: data)")
    parser.add_argument("--labels", metavar="FILE", help="CSV table of your own recordings: path, emotion, speaker")
    parser.add_argument("--with-ravdess", action="store_true", help="learn from RAVDESS too, where --labels agree")
    parser.add_argument("--network", choices=NETWORKS, default="cnn", help="(default: cnn)")
    parser.add_argument(
        "--encoder", metavar="FILE", help="OpenAI's base.pt, for any-voice (default: the blocks in model_any_voice.pt)"
    )
    parser.add_argument("--without-nemo", action="store_true", help="any-voice learns from RAVDESS alone")
    parser.add_argument("--drop", action="append", choices=EMOTIONS, default=[], help="leave an emotion out")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--split", type=int, default=0, metavar="N", help="random_state of the 80/20 split (default: 0)")
    split.add_argument(
        "--fold", type=int, metavar="N", help=f"hold out a fold of actors instead, 0 to {len(ACTOR_FOLDS) - 1}"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="checkpoint to write (default: that of the first two lines below)"
    )
    parser.add_argument("--results", metavar="FOLDER", help="(default: results; of --labels, OUT-results beside OUT)")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help=f"(default: {defaults.epochs}, {control.epochs} with --shuffle-labels)"
    )
    parser.add_argument(
        "--schedule", choices=SCHEDULES, default=defaults.schedule, help=f"(default: {defaults.schedule})"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of weights, order, augmentation (default: 0)")
    parser.add_argument("--shuffle-labels", action="store_true", help="control: train on permuted labels, reach chance")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    options = parser.parse_args(arguments)
    if options.labels:
        given = [name for name in NOT_OWN if getattr(options, name) != parser.get_default(name)]
        if given:
            parser.error(f"--labels goes without {', '.join(given)}")
        if not options.out:
            parser.error("--labels needs --out FILE, the model to write")
    elif options.with_ravdess:
        parser.error("--with-ravdess goes with --labels")
    options.results = options.results or (f"{Path(options.out).with_suffix('')}-results" if options.labels else RESULTS)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    matplotlib.use("Agg")  # files only, also where there is no display
    try:
        COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("\ntrain.py: stopped", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Train on a split, or the user's table, classify what is held out as eval.py would, write down what came out."""
    if options.labels:
        learn_own(options)
        return
    settings = replace(published_settings(options.network, options.shuffle_labels), seed=options.seed)
    if options.network == "any-voice":
        if options.epochs is not None or options.schedule != SCHEDULES[0]:
            raise ValueError("the any-voice network has neither epochs nor a schedule")
        settings = replace(settings, with_nemo=settings.with_nemo and not options.without_nemo)
    else:
        settings = replace(settings, schedule=options.schedule)
        if options.epochs is not None:
            settings = replace(settings, epochs=options.epochs)
    clips = clip_table(options.data)
    problems = check_table(clips)
    for problem in problems:
        print(f"warning: {problem}; the splits differ from the published ones", file=sys.stderr)
    run = Run(
        network=options.network,
        drop=tuple(emotion for emotion in EMOTIONS if emotion in options.drop),
        split=options.split,
        fold=options.fold,
        shuffle_labels=options.shuffle_labels,
        partial=bool(problems),
        settings=settings,
    )
    out = options.out or (run.file and HERE / run.file)
    check_places(run, options.results, out)
    print(f"{run.name}: " + ", ".join(f"{len(part)} {name} clips" for name, part in run.parts(clips).items()))
    encoder, others = None, ()
    if options.network == "any-voice":
        encoder = any_voice_encoder(options.encoder)
        others = (nemo.clip_table(options.data),) if settings.with_nemo else ()
    outcome = carry_out(run, clips, options.device, HERE / ".cache", encoder, others)
    metrics = outcome.checkpoint.metrics
    print(f"held-out clips: accuracy {metrics['accuracy']:.4f}, UAR {metrics['uar']:.4f}")
    outcome.write(options.results, out)
    if out:
        print(f"wrote {out}")


def learn_own(options: argparse.Namespace) -> None:
    """A model for the user's own labels, measured on held-out recordings and then fitted on all."""
    lesson = read_lesson(options.labels, clip_table(options.data) if options.with_ravdess else None)
    check_writable([*(Path(options.results, name) for name in OWN_RESULTS), Path(options.out)])
    print(lesson)
    learned = learn(lesson, any_voice_encoder(options.encoder), options.device, HERE / ".cache", options.seed)
    print(learned.report)
    learned.write(options.results, options.out)
    print(f"wrote {options.out}, which has learned from all of them; what was measured is in {options.results}")


def any_voice_encoder(file: str | None) -> WhisperEncoder:
    """The blocks of Whisper's encoder that are in `file` as OpenAI publishes it, else those of the committed model."""
    if file:
        return load_encoder(file, AnyVoiceSettings.n_blocks, WhisperFeatures().n_frames // 2)
    return load_checkpoint(HERE / "model_any_voice.pt").network.encoder.float()


def foreign(options: argparse.Namespace) -> None:
    """The models on another language and other speakers: predictions/*-emodb.csv."""
    clips = emodb.clip_table(options.data)
    folder = Path(options.results, "predictions")
    for file, name in (("model.pt", "random8-emodb"), ("model_any_voice.pt", "any8-emodb")):
        predictor = Predictor(HERE / file, options.device)
        tables = {name: prediction_table(clips, predictor.predict(clips["path"]))}
        if predictor.network.takes_statistics:
            tables[f"{name}-adapted"] = adapted_predictions(predictor, clips)
        for table_name, table in tables.items():
            table.to_csv(folder / f"{table_name}.csv", index=False, float_format="%.5f")
            print(f"{table_name}: UAR {uar(table):.4f}, {uar(calm_as_neutral(table)):.4f} with calm as neutral")


def check(options: argparse.Namespace) -> None:
    """What the committed checkpoints reach on the clips that they name as their test."""
    clips = clip_table(options.data)
    for file in (model.file for model in PUBLISHED):
        checkpoint = load_checkpoint(HERE / file)
        test = clips[clips["clip"].isin(checkpoint.split["test"])]
        if missing := len(checkpoint.split["test"]) - len(test):
            print(f"warning: {missing} test clips of {file} are not under {options.data}", file=sys.stderr)
        predictions = prediction_table(test, Predictor(checkpoint, options.device).predict(test["path"]))
        print(f"{file}: accuracy {accuracy(predictions):.4f}, UAR {uar(predictions):.4f} on {len(test)} clips")


def robustness(options: argparse.Namespace) -> None:
    """The models of split 0 on its test clips as other people might have recorded them."""
    from speech_emotion.evaluation.robustness import measure  # its codecs are loaded for nothing else

    path = Path(options.results, "robustness.csv")
    part = Path(f"{path}.part")
    part.touch()  # before it takes minutes
    clips = clip_table(options.data)
    checkpoint = load_checkpoint(HERE / PUBLISHED[0].file)
    is_test = clips["clip"].isin(checkpoint.split["test"])
    babblers = clips[~is_test & (clips["channel"] == "speech")].sample(8, random_state=0)
    files = [
        model.file
        for model in PUBLISHED
        if load_checkpoint(HERE / model.file).split["test"] == checkpoint.split["test"]
    ]
    predictors = {file: Predictor(HERE / file, options.device) for file in files}
    accuracies = measure(predictors, clips[is_test], babblers)
    accuracies.to_csv(part, index=False, float_format="%.4f")
    part.replace(path)
    print(accuracies.to_string(index=False))


def report(options: argparse.Namespace) -> None:
    write_report(options.results, HERE)


COMMANDS = {"train": run, "check": check, "emodb": foreign, "robustness": robustness, "report": report}

if __name__ == "__main__":
    sys.exit(main())
