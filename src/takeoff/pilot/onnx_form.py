"""Whether a notebook's model has an ONNX form: what skl2onnx can write, and what nothing here can."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache

from takeoff.pilot.code import Call, Code, Place, argument, constant, dotted
from takeoff.pilot.facts import Outcome
from takeoff.pilot.finding import Finding
from takeoff.pilot.torch_form import left_graphs

# Libraries that fit models of their own, which neither `of_pipeline` nor `of_network` can write.
OTHERS = {
    "lightgbm", "xgboost", "catboost", "keras", "tensorflow", "prophet", "fbprophet", "neuralprophet",
    "pmdarima", "statsforecast", "fastai", "h2o", "pycaret", "autogluon", "sktime", "darts",
    "interpret", "pymc", "pymc3", "jax", "flax", "mxnet", "lifelines", "surprise", "gensim",
    "autosklearn", "tpot", "pytorch_tabnet", "ngboost", "cuml", "bambi", "pyspark", "vowpalwabbit",
    "spacy", "flaml", "arch", "orbit", "imodels",
}  # fmt: skip
STATSMODELS_FITS = {
    "OLS", "WLS", "GLS", "GLM", "Logit", "Probit", "MNLogit", "ARIMA", "SARIMAX", "QuantReg", "RLM",
    "Poisson", "ols", "wls", "glm", "logit", "probit", "poisson", "mnlogit", "quantreg", "mixedlm",
    "MixedLM", "ExponentialSmoothing", "NegativeBinomial", "GEE", "VAR", "AutoReg", "Holt",
    "SimpleExpSmoothing", "PHReg", "OrderedModel",
}  # fmt: skip
TRAIN_CALLS = {"train", "cv", "load_learner", "setup", "init"}
NOT_SHIPPED = (
    "sklearn.dummy",
    "sklearn.model_selection",
    "sklearn.manifold",
    "sklearn.cluster",
    "sklearn.metrics",
)
BASES = ("BaseEstimator", "TransformerMixin", "ClassifierMixin", "RegressorMixin")
OWN_FUNCTIONS = (
    "tokenizer",
    "preprocessor",
    "analyzer",
    "metric",
    "kernel",
    "func",
    "inverse_func",
    "score_func",
)

FOR_SKLEARN = (
    "Use a step that skl2onnx can write (docs: Supported scikit-learn Models), or a torch module with "
    "`of_network`."
)
FOR_OTHERS = (
    "Fit HistGradientBoostingClassifier or another scikit-learn model and return `of_pipeline(...)`, or a "
    "torch module and `of_network(...)`."
)
FOR_OWN = (
    "Write the step with ColumnTransformer, SimpleImputer, Binarizer and the like; or compute it in "
    "src/takeoff/dataset.py, before the contract."
)


def onnx_form(code: Code, outcome: Outcome) -> list[Finding]:
    """Models and steps that have no ONNX form here, each class once; of a network, each line."""
    found: dict[str, Finding] = {}
    for name, place, text, action in (
        *_classes(code),
        *_libraries(code),
        *_steps(code),
        *left_graphs(code),
        *_at_run(code, outcome),
    ):
        found.setdefault(name, Finding("onnx", place.cell, place.line, text, action))
    return sorted(found.values(), key=lambda each: (each.cell or 0, each.line or 0))


@cache
def supported() -> frozenset[type]:
    """The classes of scikit-learn that skl2onnx can write."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    return frozenset(sklearn_operator_name_map)


def _classes(code: Code) -> Iterator[tuple[str, Place, str, str]]:
    """Classes of the notebook's own that are steps of a pipeline."""
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            bases = [dotted(base, code.aliases) for base in node.bases]
            methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            is_step = any(base.endswith(BASES) or _is_estimator(base) for base in bases) or (
                "fit" in methods and bool(methods & {"transform", "predict", "predict_proba"})
            )
            if is_step and not any(base.endswith("Module") for base in bases):
                text = f"`{node.name}` is a step of its own making: skl2onnx has no form for it."
                yield node.name, Place(cell.number, node.lineno), text, FOR_OWN


def _libraries(code: Code) -> Iterator[tuple[str, Place, str, str]]:
    for call in code.calls:
        if ")" in call.name:
            continue
        makes = call.last[:1].isupper() or call.last in TRAIN_CALLS
        if (call.root in OTHERS and makes and not _is_data(call.last)) or (
            call.root == "statsmodels" and call.last in STATSMODELS_FITS
        ):
            text = f"`{call.last}` of {call.root}: the project has no writer for it."
            yield call.root, call.place, text, FOR_OTHERS


def _is_data(name: str) -> bool:
    return name in ("Dataset", "DMatrix", "Pool", "SparkSession", "SparkContext", "Reader")


def _steps(code: Code) -> Iterator[tuple[str, Place, str, str]]:
    """Classes of scikit-learn that skl2onnx does not know, or does not know as they are used here."""
    functions = {
        node.name for cell in code.cells for node in ast.walk(cell.tree) if isinstance(node, ast.FunctionDef)
    }
    for call in code.calls:
        if ")" in call.name or not call.name.startswith("sklearn."):
            continue
        if text := _own_function(call, functions):
            yield (
                f"{call.last} {text}",
                call.place,
                f"`{call.last}` with a function: {text} is Python, not ONNX.",
                FOR_OWN,
            )
        elif call.last == "SimpleImputer" and constant(argument(call.node, "add_indicator")) is True:
            text = "`SimpleImputer(add_indicator=True)`: skl2onnx leaves the indicator out without a word."
            action = (
                "Make the flag of two steps, as `_missing_flags` in src/takeoff/candidates/logistic.py does."
            )
            yield call.last, call.place, text, action
        elif _is_unknown(call.name):
            yield call.last, call.place, f"`{call.last}`: skl2onnx has no form for it.", FOR_SKLEARN


def _own_function(call: Call, functions: set[str]) -> str | None:
    positions = {"FunctionTransformer": 0}
    for name in OWN_FUNCTIONS:
        given = argument(call.node, name, positions.get(call.last) if name == "func" else None)
        if isinstance(given, ast.Lambda):
            return f"`{name}=lambda ...`"
        is_code = isinstance(given, ast.Attribute) or (isinstance(given, ast.Name) and given.id in functions)
        a_step = call.last == "FunctionTransformer" and given is not None and not _is_none(given)
        if given is not None and (is_code or a_step):
            return f"`{name}={ast.unparse(given)}`"
    return None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_unknown(name: str) -> bool:
    """Whether a class of scikit-learn learns, may ship, and has no writer."""
    found = _class(name)
    if found is None or not name.rpartition(".")[2][:1].isupper() or found.__module__.startswith(NOT_SHIPPED):
        return False
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin

    kinds = (ClassifierMixin, RegressorMixin, TransformerMixin)
    return issubclass(found, BaseEstimator) and issubclass(found, kinds) and found not in supported()


def _is_estimator(name: str) -> bool:
    found = _class(name) if name.startswith("sklearn.") else None
    if found is None:
        return False
    from sklearn.base import BaseEstimator

    return issubclass(found, BaseEstimator)


def _class(name: str) -> type | None:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _at_run(code: Code, outcome: Outcome) -> Iterator[tuple[str, Place, str, str]]:
    """Fitted steps that only showed when the notebook ran, such as those of an imported pipeline."""
    for each in outcome.facts.estimators if outcome.facts else ():
        root = each.module.partition(".")[0]
        if root == "sklearn" and not _is_unknown(f"{each.module}.{each.kind}"):
            continue
        if root == "__main__" and any(each.kind == name for name, *_ in _classes(code)):
            continue
        if root not in ("sklearn", "__main__") and root not in OTHERS:
            continue
        place = next(
            (call.place for call in code.calls if call.last == each.kind), _assigned(code, each.name)
        )
        text = f"`{each.kind}`, a step of `{each.name}`: skl2onnx has no form for it."
        yield (root if root in OTHERS else each.kind), place, text, FOR_SKLEARN


def _assigned(code: Code, name: str) -> Place:
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
                return Place(cell.number, node.lineno)
    return Place(code.cells[-1].number, 1)
