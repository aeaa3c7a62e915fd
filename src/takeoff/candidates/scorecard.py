"""Scorecard: each bin of a number and each category gets a weight, by penalised regression.

Promoted from notebooks/2_prototype.ipynb; change it there and promote again.
SHA-256 of the notebook's code: acb59e6b4ddb88138fcba592160d0d0501d7f06b357779c02a620b4f593fe8d6
SHA-256 of this module: aab4d58ace2881c2032d4b20df0c410f72971e638a6f9448931d7e39833ce1a5
"""

import warnings
from typing import Any

from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Binarizer, KBinsDiscretizer, OneHotEncoder

from takeoff.candidates import Fitted, of_pipeline
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.settings import Settings as Base

ABSENT = 1e30  # stands for a missing number: no contract allows it, and float32 holds it
Parts = list[tuple[str, Any, list[str]]]


def scorecard_parts(bins: int, contract: Contract) -> Parts:
    """Numbers in bins of equally many rows, a flag where one is missing, a weight for each category."""
    cut = KBinsDiscretizer(
        bins, encode="ordinal", strategy="quantile", quantile_method="inverted_cdf", subsample=None
    )
    marked = SimpleImputer(strategy="constant", fill_value=ABSENT)
    may_lack = [name for name in contract.numbers if contract.columns[name].missing > 0]
    return [
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), cut, OneHotEncoder()), contract.numbers),
        ("missing", make_pipeline(marked, Binarizer(threshold=ABSENT / 2)), may_lack),
        ("categories", OneHotEncoder(handle_unknown="ignore"), contract.categories),
    ]


def weighed(
    parts: Parts, inverse_penalty: float, most_iterations: int, examples: Examples, seed: int
) -> Pipeline:
    """The regression that learns a weight for each column that the parts make."""
    regression = LogisticRegression(C=inverse_penalty, max_iter=most_iterations, random_state=seed)
    pipeline = Pipeline([("columns", ColumnTransformer(parts)), ("regression", regression)])
    with warnings.catch_warnings():
        # Where one value is common, quantiles coincide and are merged: fewer bins, as it should be.
        warnings.filterwarnings("ignore", message="Bins whose width are too small")
        return pipeline.fit(examples.features, examples.labels)


class Settings(Base):
    """How finely numbers are cut, and how firmly weights are held back."""

    bins: int = Field(ge=2, description="most bins of a number; more follow it closer and need more rows")
    inverse_penalty: float = Field(gt=0, description="C of scikit-learn: smaller is stronger regularisation")
    most_iterations: int = Field(gt=0, description="of the solver, before it gives up")


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    """A weight for each bin of a number, each category and each number that is missing."""
    parts = scorecard_parts(settings.bins, contract)
    pipeline = weighed(parts, settings.inverse_penalty, settings.most_iterations, fit, seed)
    return of_pipeline(pipeline, contract)
