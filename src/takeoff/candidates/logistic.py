"""Logistic regression: the linear model that every costlier one has to beat."""

from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Binarizer, OneHotEncoder, StandardScaler

from takeoff.candidates import Fitted, of_pipeline
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.settings import Settings as Base

FAR = 1e30  # a number that no contract allows, and that float32 can hold


class Settings(Base):
    """Regularisation and patience of the solver."""

    inverse_penalty: float = Field(gt=0)
    most_iterations: int = Field(gt=0)


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    """Scaled numbers with a flag where missing, categories one-hot, then L2-penalised regression."""
    may_lack = [name for name in contract.numbers if contract.columns[name].missing > 0]
    columns = ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="ignore"), contract.categories),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), contract.numbers),
            ("missing", make_pipeline(*_missing_flags()), may_lack),
        ]
    )
    regression = LogisticRegression(
        C=settings.inverse_penalty, max_iter=settings.most_iterations, random_state=seed
    )
    pipeline = Pipeline([("columns", columns), ("regression", regression)])
    pipeline.fit(fit.features, fit.labels)

    return of_pipeline(pipeline, contract)


def _missing_flags() -> tuple[SimpleImputer, Binarizer]:
    """Steps that turn a number into 1 where it is missing and 0 elsewhere.

    skl2onnx leaves out `add_indicator` without a word, so the flag is made of two steps that it knows.
    """
    return SimpleImputer(strategy="constant", fill_value=FAR), Binarizer(threshold=FAR / 2)
