"""Gradient-boosted trees on raw numbers and target-encoded categories."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from takeoff.candidates import Fitted
from takeoff.contract import Contract
from takeoff.export import from_sklearn
from takeoff.features import Examples
from takeoff.settings import Settings as Base


class Settings(Base):
    """Number, size and pace of the trees."""

    trees: int = Field(gt=0)
    patience: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    leaves: int = Field(gt=1)
    rows_per_leaf: int = Field(gt=0)
    columns_per_split: float = Field(gt=0, le=1)
    penalty: float = Field(ge=0)


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    """Boost until validation stops improving.

    Numbers stay raw: float32 values compare with the trees' thresholds in ONNX as they do here, which
    scaled ones do not. Encoded categories are rounded to float32 first, as they are in ONNX, or two that
    hardly differ could fall on different sides of a split there.
    """
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    columns = ColumnTransformer(
        [
            ("categories", TargetEncoder(target_type="binary", cv=folds), contract.categories),
            ("numbers", "passthrough", contract.numbers),
        ]
    )
    encoded = _single(columns.fit_transform(fit.features, fit.labels))
    trees = HistGradientBoostingClassifier(
        max_iter=settings.trees,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=settings.rows_per_leaf,
        max_features=settings.columns_per_split,
        l2_regularization=settings.penalty,
        early_stopping=True,
        n_iter_no_change=settings.patience,
        random_state=seed,
    )
    trees.fit(
        encoded, fit.labels, X_val=_single(columns.transform(validation.features)), y_val=validation.labels
    )
    _round_thresholds(trees)
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    return Fitted(
        predict=lambda features: np.asarray(trees.predict_proba(_single(columns.transform(features)))),
        to_onnx=lambda: from_sklearn(pipeline, contract),
        steps=_steps(trees),
    )


def _round_thresholds(trees: Any) -> None:
    """Bring thresholds down to the nearest float32, as which ONNX keeps them.

    A float32 is at most the one exactly when it is at most the other, so the trees say the same. Rounded to
    the nearest instead, a threshold between two neighbouring numbers could become the larger of them.
    """
    for tree in (tree for step in trees._predictors for tree in step):  # scikit-learn gives no other way in
        exact = tree.nodes["num_threshold"]
        rounded = exact.astype(np.float32)
        below = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
        tree.nodes["num_threshold"] = below


def _single(encoded: Any) -> npt.NDArray[np.float32]:
    return np.asarray(encoded, dtype=np.float32)


def _steps(trees: Any) -> list[dict[str, float]]:
    """Log loss by number of trees; scikit-learn keeps its negative."""
    scores = zip(trees.train_score_, trees.validation_score_, strict=True)
    return [
        {"fit_log_loss": -float(on_fit), "validation_log_loss": -float(on_val)} for on_fit, on_val in scores
    ]
