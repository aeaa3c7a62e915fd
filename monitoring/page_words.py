"""What the numbers on the page mean, in words for whoever is on call."""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Word(NamedTuple):
    """A number's name, and what it says."""

    name: str
    meaning: str


WORDS: Mapping[str, Word] = {
    "interval": Word(
        "In brackets, or a band",
        "The interval of a value: with other rows of the same kind it might as well have been anywhere in "
        "there. Two values whose intervals overlap may be the same.",
    ),
    "live": Word(
        "Live and estimated",
        "Live is measured, on rows whose truth has come. Estimated is worked out from the probabilities "
        "alone, as if they were right, so it sees that rows have become harder, but not that the model "
        "has become wrong.",
    ),
    "promised": Word(
        "Promised, and the plain rule",
        "What the model reached when it was released, and what one would do without a model. Dearer than "
        "promised is a model that ages; dearer than the plain rule is one that is not worth having.",
    ),
    "cost": Word(
        "Cost of the decisions",
        "What wrong decisions cost by the prices in contract.yaml, for 1,000 rows.",
    ),
    "events": Word(
        "Events seen and expected",
        "In which share of the rows the event came, and in which share the probabilities said it would. "
        "Where they part, decisions are made on wrong odds: the usual sign that the world has changed.",
    ),
    "labels": Word(
        "Labels",
        "Rows whose truth is known. Few of them in an old window means that the job which sends them has "
        "stopped.",
    ),
    "rows": Word(
        "Rows",
        "How many the service answered. A jump is a caller that sends twice, or one that has stopped.",
    ),
    "roc_auc": Word(
        "ROC AUC",
        "How well answers put rows in order: how often a row with the event got a higher probability than "
        "one without. 1 is always, 0.5 is a coin.",
    ),
    "average_precision": Word(
        "Average precision",
        "How many of the rows with the highest probabilities really had the event. By chance it is the "
        "share of events.",
    ),
    "log_loss": Word(
        "Log loss",
        "How surprised one is by the truth, having believed the probabilities; 0 is never.",
    ),
    "brier": Word(
        "Brier score",
        "How far probabilities are from the truth, squared and averaged; 0 is not at all.",
    ),
    "calibration_error": Word(
        "Calibration error",
        "How far the share of events is from what the probabilities said, in groups of rows that got "
        "about the same one. The curves under Calibration show in which direction; a group of few rows "
        "jumps by chance.",
    ),
    "psi": Word(
        "PSI",
        "Population stability index: how differently rows spread over the ranges or values of a column "
        "than in training. Under 0.1 is little, over 0.25 is much.",
    ),
    "distance": Word(
        "Distance",
        "For numbers, how far values moved on average, in standard deviations of training (Wasserstein). "
        "For categories, how differently they are shared out, from 0 to 1 (Jensen-Shannon).",
    ),
    "missing": Word(
        "Missing",
        "Share of rows without a value; beside it, what it was in training.",
    ),
    "unseen": Word(
        "Never seen",
        "Share of values that training never saw: a new category, or a number outside of all that it "
        "knew. The model guesses there.",
    ),
    "noise": Word(
        "Noise",
        "What chance alone reaches in a window of this many rows although nothing has changed. Only what "
        "goes beyond it counts.",
    ),
    "importance": Word(
        "Importance",
        "How much of what the model reads comes from this column. Drift of a column that it hardly reads "
        "is no reason to do anything.",
    ),
    "multivariate": Word(
        "All columns at once",
        "Whether a classifier can tell rows of this window from rows of training. It sees columns that "
        "moved against each other, while each by itself looks as ever.",
    ),
    "quality": Word(
        "Broken and refused rows",
        "Rows that break a rule of contract.yaml, and rows that the service refused for one. Mend what "
        "sends them; never retrain on them.",
    ),
    "challenger": Word(
        "Challenger",
        "Another model that answers the same rows unseen. A difference whose interval does not hold 0 is "
        "no chance.",
    ),
}
# What a reason measured, by what it is called in the decision's JSON.
REASONS: Mapping[str, str] = {
    "ROC AUC": "roc_auc",
    "cost against the plain rule": "promised",
    "prediction drift": "psi",
    "multivariate drift": "multivariate",
    "broken rows": "quality",
    "refused rows": "quality",
    "broken rule": "quality",
    "traffic": "rows",
}


def word_of(what: str) -> str | None:
    """The word that explains a metric, or what a reason measured; None where there is none."""
    said = what.removeprefix("estimated ")
    found = REASONS.get(said, re.sub(r"\W+", "_", said))
    return found if found in WORDS else None
