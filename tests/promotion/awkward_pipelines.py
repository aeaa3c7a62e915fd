"""Awkward notebooks whose candidate is a scikit-learn pipeline."""

import nbformat

from tests.promotion.cell_text import notebook


def shadowed_pipeline() -> nbformat.NotebookNode:
    """Scikit-learn: globals in functions, late imports, shadowed names, unicode, cells run out of order."""
    return notebook(r'''
# %% markdown
# Häufigkeiten
An awkward notebook: what is tagged leans on what is not.

# %% code 1
from takeoff.notebook import open_project

project = open_project()
contract, params = project.contract, project.params

# %% code 7
whole = project.examples("fit")
train = type(whole)(whole.features.iloc[::20], whole.labels[::20])
validation = project.examples("validation")

# %% code 3
# Stärke der Strafe: kleiner ist stärker.
stärke_min = 0.01
hours = train.features["departure_hour"]

# %% code 2
scale = lambda values: values / values.max()  # only for a look
scale(hours).describe()

# %% markdown
## The candidate
Regression on **bins** of numbers, fillers for gaps — für `späte` Flüge. It is not a good one.

# %% candidate 9
from pydantic import Field

from takeoff.settings import Settings as Base


class Settings(Base):
    """Wie stark geglättet wird."""

    strength: float = Field(gt=0, description="C of the regression: smaller is calmer")
    bins: int = Field(gt=1, description="bins of each number; more sees more and needs more rows")

# %% candidate 5
def fit(fit, validation, settings, contract, seed):
    """Bins of numbers and known values of categories, then regression — „späte“ Flüge."""
    regression = LogisticRegression(C=max(settings.strength, stärke_min), random_state=seed)
    pipeline = Pipeline([("spalten", columns(settings, contract)), ('regression', regression)])
    pipeline.fit(fit.features, fit.labels)
    return of_pipeline(pipeline, contract)

# %% markdown
Imports came late, and so did what `fit` calls.

# %% code 4
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder
from sklearn.impute import SimpleImputer
import numpy as np, os
from takeoff.candidates import of_pipeline

# %% code 6
FILL = "median"
scale = 3  # was a function above

# %% code 8
from sklearn.compose import ColumnTransformer

# One bin is as good as another where a number is missing.
def columns(settings, contract):
    numbers = make_pipeline(
        SimpleImputer(strategy=FILL),
        KBinsDiscretizer(settings.bins * scale, encode='onehot-dense', quantile_method='inverted_cdf'),
    )
    parts = [("zahlen", numbers, contract.numbers)]
    return ColumnTransformer(
        [*parts, ("kategorien", OneHotEncoder(handle_unknown="ignore"), contract.categories)]
    )

# %% code 10
fitted = fit(train, validation, Settings(strength=0.1, bins=2), contract, params.seed)
fitted.predict(validation.features)[:3]

# %% code 11
scale = "too late to matter"
FILL = train.features.median(numeric_only=True)

''')


def closure_pipeline() -> nbformat.NotebookNode:
    """Scikit-learn: a class, a closure over a constant, a decorator, walrus, match, tuples of constants."""
    return notebook(r'''
# %% code 2
%matplotlib inline
from takeoff.notebook import open_project

project = open_project()
contract, params = project.contract, project.params

# %% code 1
whole = project.examples("fit")
train = type(whole)(whole.features.iloc[::20], whole.labels[::20])
validation = project.examples("validation")

# %% code
import functools
import re

LOW, HIGH = -3.0, 3.0
WIDTH = HIGH - LOW
DELAYS = re.compile(r"_delay_|^plane_last_delay$")

# %% code
def clipper(low, high):
    """What it clips to was known when it was made."""

    def clipped(values):
        return [low, high] if values is None else [max(low, min(high, each)) for each in values]

    return clipped


clip = clipper(LOW, LOW + WIDTH)

# %% code
def once(function):
    @functools.wraps(function)
    def wrapped(*args, **options):
        return function(*args, **options)

    return wrapped

# %% code
files = !ls
clip(train.features['distance'].head())

# %% candidate
from __future__ import annotations

import numpy as np
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

import takeoff.settings
from takeoff.candidates import Fitted, of_pipeline
from takeoff.contract import Contract


class Settings(takeoff.settings.Settings):
    strength: float = Field(gt=0, description="C of the regression")
    scaling: str = Field(description="of numbers: standard or range")

# %% candidate
class Plan:
    """Which columns are treated how."""

    low, high = clip(None)

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self.settings, self.contract = settings, contract

    def scaler(self):
        match self.settings.scaling:
            case "standard":
                return StandardScaler()
            case "range" | "":
                return MinMaxScaler((self.low, self.high))
            case other:
                raise ValueError(f"no scaling {other!r}")

    @once
    def steps(self, *, strategy: str = 'mean') -> list[tuple]:
        numbers = self.contract.numbers
        if delays := [name for name in numbers if DELAYS.search(name)]:
            numbers = [name for name in numbers if name not in delays]
        imputed = lambda how: make_pipeline(SimpleImputer(strategy=how), self.scaler())  # noqa: E731
        return [
            ("numbers", imputed(strategy), numbers),
            ("delays", imputed("median"), delays),
            ("categories", OneHotEncoder(handle_unknown="ignore"), self.contract.categories),
        ]

# %% candidate
def fit(fit, validation, settings: Settings, contract: Contract, seed: int) -> Fitted:
    pipeline = Pipeline(
        [
            ("columns", ColumnTransformer(Plan(settings, contract).steps())),
            ("regression", LogisticRegression(C=settings.strength, random_state=seed)),
        ]
    )
    pipeline.fit(fit.features, fit.labels)
    return of_pipeline(pipeline, contract)


# The end of what is tagged.

# %% code
for strength in (0.01, 0.1):
    fitted = fit(
        train, validation, Settings(strength=strength, scaling="range"), contract, params.seed
    )

''')
