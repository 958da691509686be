"""The models in the repository; a new model needs one more entry here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A committed checkpoint."""

    file: str
    run: str  # the run that trains it
    title: str  # in the report
    page_title: str  # on the web page
    is_recommended: bool = False  # the web page's default


PUBLISHED = (
    Published("model.pt", "random8-split0", "eight emotions", "RAVDESS, eight emotions"),
    Published("model_sad_removed.pt", "random7-split0", "without sad", "RAVDESS, without sad"),
    Published("model_any_voice.pt", "any8-split0", "any voice", "any voice (recommended)", is_recommended=True),
)
