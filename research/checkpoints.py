"""The committed checkpoints on clips that they were not trained on.

python3 -m research.checkpoints ravdess    # accuracy on their own test clips
python3 -m research.checkpoints emodb      # an unseen corpus in German: results/predictions/*-emodb.csv
"""

import argparse

from research import REPOSITORY, parser_of
from research.tables import calm_as_neutral
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.foreign import EMODB
from speech_emotion.evaluation.metrics import accuracy, prediction_table, uar
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.published import PUBLISHED
from speech_emotion.training.runs import adapted_predictions


def main() -> None:
    commands = {"ravdess": on_ravdess, "emodb": on_emodb}
    parser = parser_of(__doc__)
    parser.add_argument("corpus", choices=commands)
    options = parser.parse_args()
    commands[options.corpus](options)


def on_ravdess(options: argparse.Namespace) -> None:
    clips = ravdess.clip_table(options.data)
    for file in (model.file for model in PUBLISHED):
        checkpoint = load_checkpoint(REPOSITORY / file)
        test = clips[clips["clip"].isin(checkpoint.split["test"])]
        if missing := len(checkpoint.split["test"]) - len(test):
            print(f"warning: {missing} test clips of {file} are not under {options.data}")
        predictions = prediction_table(
            test, Predictor(checkpoint, options.device, speech_only=False).predict(test["path"])
        )
        print(f"{file}: accuracy {accuracy(predictions):.4f}, UAR {uar(predictions):.4f} on {len(test)} clips")


def on_emodb(options: argparse.Namespace) -> None:
    clips = EMODB.clip_table(options.data)
    for file, name in (("model.pt", "random8-emodb"), ("model_any_voice.pt", "any8-emodb")):
        predictor = Predictor(REPOSITORY / file, options.device, speech_only=False)
        tables = {name: prediction_table(clips, predictor.predict(clips["path"]))}
        if predictor.network.takes_statistics:
            tables[f"{name}-adapted"] = adapted_predictions(predictor, clips)
        for table_name, table in tables.items():
            path = options.results / "predictions" / f"{table_name}.csv"
            table.to_csv(path, index=False, float_format="%.5f")
            print(f"{table_name}: UAR {uar(table):.4f}, {uar(calm_as_neutral(table)):.4f} with calm as neutral")


if __name__ == "__main__":
    main()
