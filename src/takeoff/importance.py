"""How much each column matters to a model: how far its answers move when the column tells nothing.

Needs no labels and no knowledge of what kind of model it is: a column is shuffled, the model is asked
again. Shuffling is Breiman's permutation importance (2001); measuring the answers and not the loss is what
drift needs, because a column can only do harm through what the model makes of it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

IMPORTANCE_FILE = "importance.json"
DIGITS = 9  # the last ones depend on the processor

Ask = Callable[[pd.DataFrame], npt.NDArray[np.float32]]


def importance(features: pd.DataFrame, ask: Ask, seed: int) -> dict[str, float]:
    """Share of each column in what moves the model's answers.

    All columns are shuffled in the same way, so that the order of the columns makes no difference.

    Args:
        features: what the model takes, shape (n, columns); see `takeoff.features.features`.
        ask: the model: features to probabilities, float32 of shape (n, classes).
        seed: of the shuffle.

    Returns:
        By column, in their order: mean absolute change of the probabilities, as a share of the sum over
        all columns. They sum to 1, or are all 0 where no column changes an answer.
    """
    said = ask(features)
    order = np.random.default_rng(seed).permutation(len(features))
    moved = {}
    for name in features.columns:
        shuffled = features.assign(**{str(name): features[name].to_numpy()[order]})
        moved[str(name)] = float(np.abs(ask(shuffled).astype("float64") - said).mean())
    total = sum(moved.values()) or 1.0
    return {name: round(change / total, DIGITS) for name, change in moved.items()}
