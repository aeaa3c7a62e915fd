"""Gradient-boosted trees on raw numbers and target-encoded categories."""

from typing import Any

import numpy as np
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
    scaled ones do not.
    """
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    columns = ColumnTransformer(
        [
            ("categories", TargetEncoder(target_type="binary", cv=folds), contract.categories),
            ("numbers", "passthrough", contract.numbers),
        ]
    )
    encoded = columns.fit_transform(fit.features, fit.labels)
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
    trees.fit(encoded, fit.labels, X_val=columns.transform(validation.features), y_val=validation.labels)
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    return Fitted(
        predict=lambda features: np.asarray(pipeline.predict_proba(features)),
        to_onnx=lambda: from_sklearn(pipeline, contract),
        steps=_steps(trees),
    )


def _steps(trees: Any) -> list[dict[str, float]]:
    """Log loss by number of trees; scikit-learn keeps its negative."""
    scores = zip(trees.train_score_, trees.validation_score_, strict=True)
    return [
        {"fit_log_loss": -float(on_fit), "validation_log_loss": -float(on_val)} for on_fit, on_val in scores
    ]
