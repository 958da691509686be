"""A plain baseline on EmoBox's folds: logistic regression on the frozen encoder's embeddings of unchanged clips.

Writes results/predictions/baseline-emoboxN.csv and, with the embeddings of every actor standardised by that actor's own
clips, baseline-emoboxN-adapted.csv. Nothing is chosen: scikit-learn's defaults (C is 1), except for balanced classes
and enough iterations. Takes a few minutes:

    python3 -m research.baseline
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from research import REPOSITORY, parser_of
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.splits import FOLDS, fold_split
from speech_emotion.evaluation.metrics import uar
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.network import choose_device
from speech_emotion.training.any_voice import embeddings
from speech_emotion.training.any_voice_head import HeadSettings


def main() -> None:
    options = parser_of(__doc__).parse_args()
    clips = ravdess.clip_table(options.data).query("channel == 'speech'").reset_index(drop=True)
    network = load_checkpoint(REPOSITORY / "model_any_voice.pt").network
    device = choose_device(options.device)
    plain = embeddings(clips, network, 0, HeadSettings(), device, options.cache)[0].float().numpy()
    for ending, embedded in (("", plain), ("-adapted", by_actor(plain, clips["actor"]))):
        tables = [predict_fold(clips, embedded, number) for number in range(len(FOLDS["emobox"][0]))]
        for number, table in enumerate(tables):
            path = options.results / "predictions" / f"baseline-emobox{number}{ending}.csv"
            table.to_csv(path, index=False, float_format="%.5f")
        print(f"baseline{ending}: UAR {np.mean(list(map(uar, tables))):.4f}")


def by_actor(embedded: np.ndarray, actors: pd.Series) -> np.ndarray:
    """Embeddings (B, D), those of every actor standardised by the mean and deviation of all clips of that actor."""
    adapted = np.empty_like(embedded)
    for actor in actors.unique():
        adapted[actors == actor] = StandardScaler().fit_transform(embedded[actors == actor])
    return adapted


def predict_fold(clips: pd.DataFrame, embedded: np.ndarray, number: int) -> pd.DataFrame:
    """The prediction table of the test clips of one of EmoBox's folds; `embedded` (B, D) has a row for each clip."""
    training, test = fold_split(clips, "emobox", number)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    model.fit(embedded[training.index], training["emotion"])
    probabilities = pd.DataFrame(model.predict_proba(embedded[test.index]), test.index, model.classes_)
    table = test[["clip", "emotion"]].assign(prediction=probabilities.idxmax(axis=1))
    return table.join(probabilities[list(ravdess.EMOTIONS)]).sort_values("clip", ignore_index=True)


if __name__ == "__main__":
    main()
