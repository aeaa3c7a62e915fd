"""How a notebook judges its model: seeds, something to compare with, and intervals."""

import ast
import re
from collections.abc import Iterator

from takeoff.pilot.code import Call, Code, Place, argument, constant, has_spread, identifiers, tokens
from takeoff.pilot.finding import Finding

# Classes and functions of scikit-learn and its like whose result differs from run to run without a seed.
RANDOM_CLASSES = re.compile(
    r"^(RandomForest|ExtraTrees|GradientBoosting|HistGradientBoosting|AdaBoost|Bagging|MLP|SGD|DecisionTree|ExtraTree|"
    r"IsolationForest|XGB|LGBM|CatBoost|RandomTreesEmbedding|Perceptron|PassiveAggressive|MiniBatch|KMeans|RANSAC|"
    r"TheilSen|TruncatedSVD|FastICA|TSNE|UMAP|GaussianRandomProjection|SparseRandomProjection|SMOTE|ADASYN|"
    r"BorderlineSMOTE|RandomOverSampler|RandomUnderSampler|GaussianMixture|NMF|BayesSearch|RandomizedSearch|"
    r"HalvingRandomSearch|LatentDirichlet|Nystroem|RBFSampler|BalancedRandomForest|EasyEnsemble)"
)
SHUFFLED = {
    "ShuffleSplit",
    "StratifiedShuffleSplit",
    "GroupShuffleSplit",
    "RepeatedKFold",
    "RepeatedStratifiedKFold",
}
FOLDS = {"KFold", "StratifiedKFold", "StratifiedGroupKFold"}
SEED_WORDS = ("random_state", "seed", "random_seed", "rng", "generator")
NUMPY_DRAWS = re.compile(
    r"^numpy\.random\.(rand|randn|random|randint|choice|shuffle|permutation|normal|uniform|binomial|poisson|sample|"
    r"random_sample|exponential|beta|gamma|standard_normal|multivariate_normal)$"
)
PYTHON_DRAWS = re.compile(
    r"^random\.(random|randint|choice|choices|shuffle|sample|uniform|gauss|normalvariate)$"
)
TORCH_DRAWS = re.compile(
    r"^torch\.(rand|randn|randint|randperm|bernoulli|multinomial|normal|utils\.data\.random_split)$"
    r"|^torch\.nn\.(Linear|Conv\w+|LSTM|GRU|RNN|Embedding|EmbeddingBag|Dropout|Transformer\w*|Bilinear)$"
)
KERAS_DRAWS = re.compile(r"^(keras|tensorflow\.keras)\.(Sequential|layers\.\w+|Model)$")
SKLEARN_DRAWS = {
    "train_test_split",
    "make_classification",
    "make_regression",
    "make_blobs",
    "make_moons",
    "make_circles",
}
EVERYTHING = re.compile(
    r"(seed_everything|set_seed|set_random_seed|fix_seed|set_all_seeds|seed_all|enable_full_determinism)$"
)

SEED_ACTION = "Give it the project's seed: `open_project().params.seed`, as `random_state=` or `{call}`."

MODELS = re.compile(
    r"(Classifier|Regressor|Regression|RegressionCV|SVC|SVR|Ridge|RidgeCV|Lasso|LassoCV|ElasticNet|ElasticNetCV|NB|Lars|"
    r"Perceptron|KernelRidge|Discriminant(Analysis)?|Classifier_?CV|OLS|WLS|GLM|Logit|Probit|MNLogit|ARIMA|SARIMAX|"
    r"AutoARIMA|Prophet|ExponentialSmoothing|NearestCentroid|IsotonicRegression|Huber\w*|QuantReg|ols|logit|glm)$"
)
NOT_MODELS = re.compile(
    r"^(Dummy\w+|Voting\w+|Stacking\w+|Bagging\w+|CalibratedClassifierCV|MultiOutput\w+|OneVs\w+|\w*SearchCV)$"
)
BASELINE_WORDS = {
    "baseline", "baselines", "dummy", "majority", "naive", "champion", "persistence", "benchmark",
    "rule", "incumbent", "climatology", "heuristic",
}  # fmt: skip
CONSTANTS = {"full", "full_like", "zeros", "zeros_like", "ones", "ones_like", "repeat"}

METRICS = re.compile(
    r"^(accuracy|balanced_accuracy|roc_auc|average_precision|f1|fbeta|precision|recall|r2|jaccard|d2_\w+|explained_variance|"
    r"matthews_corrcoef|cohen_kappa|top_k_accuracy|brier|v_measure|ndcg)_score$"
    r"|^(log_loss|brier_score_loss|hinge_loss|zero_one_loss|mean_squared_error|root_mean_squared_error|"
    r"mean_absolute_error|median_absolute_error|mean_absolute_percentage_error|mean_squared_log_error|mean_pinball_loss|"
    r"matthews_corrcoef|classification_report|precision_recall_fscore_support|roc_auc|max_error)$"
)
FITS = {"fit", "fit_regularized", "cross_val_score", "cross_validate", "cross_val_predict", "train"}
CROSS = {"cross_val_score", "cross_validate"}
METRIC_WORDS = {
    "accuracy", "acc", "auc", "rmse", "mae", "mse", "mape", "f1", "precision", "recall", "rsquared",
    "logloss", "brier", "error_rate", "hit_rate",
}  # fmt: skip
SCORE_WORDS = METRIC_WORDS | {
    "score",
    "scores",
    "fold",
    "folds",
    "metric",
    "metrics",
    "result",
    "results",
    "aucs",
    "accs",
    "cv",
}
INTERVAL_WORDS = {
    "bootstrap",
    "bootstraps",
    "resamples",
    "interval",
    "intervals",
    "confidence",
    "ci",
    "stderr",
    "sem",
}
INTERVAL_CALLS = re.compile(
    r"(^|\.)(bootstrap|conf_int|sem|proportion_confint|t\.interval|norm\.interval|ttest_rel|delong\w*)$"
)
TAIL_SHARES = {0.5, 1, 2.5, 5, 95, 97.5, 99, 99.5, 0.025, 0.975, 0.05, 0.95, 0.005, 0.995}


def seed(code: Code) -> list[Finding]:
    """Random steps that nothing seeds."""
    seeded = _seeded(code)
    found = {}
    for call in code.calls:
        if (lacks := _lacks_seed(call, seeded)) and call.place not in found:
            found[call.place] = lacks
    return [
        Finding("seed", place.cell, place.line, f"`{text}` draws at random, and nothing seeds it.",
                SEED_ACTION.format(call=how))
        for place, (text, how) in sorted(found.items())
    ]  # fmt: skip


def _seeded(code: Code) -> dict[str, Place]:
    """Which generators are seeded for all, and where: numpy, random, torch, keras."""
    found: dict[str, Place] = {}
    for call in code.calls:
        given = bool(call.node.args or call.node.keywords)
        kinds = (
            ["numpy", "random", "torch", "keras"] if EVERYTHING.search(call.name)
            else ["numpy"] if call.name == "numpy.random.seed" and given
            else ["random"] if call.name == "random.seed" and given
            else ["torch"] if call.name in ("torch.manual_seed", "torch.random.manual_seed") and given
            else ["keras"] if call.name == "tensorflow.random.set_seed"
            else []
        )  # fmt: skip
        for kind in kinds:
            found.setdefault(kind, call.place)
    return found


def _lacks_seed(call: Call, seeded: dict[str, Place]) -> tuple[str, str] | None:
    last = call.last
    sklearn_like = (
        RANDOM_CLASSES.match(last)
        or last in SHUFFLED
        or (last in FOLDS and constant(argument(call.node, "shuffle", 1)) is True)
        or (last in SKLEARN_DRAWS and constant(argument(call.node, "shuffle")) is not False)
        or call.name in ("sklearn.utils.resample", "sklearn.utils.shuffle")
        or (last == "sample" and isinstance(call.node.func, ast.Attribute) and _samples_frame(call))
    )
    if sklearn_like and not call.name.startswith("torch."):
        free = not _has_seed(call) and not has_spread(call.node)
        return (last, "np.random.seed(...)") if free and "numpy" not in seeded else None
    if NUMPY_DRAWS.match(call.name):
        return (
            (call.name.replace("numpy", "np"), "np.random.default_rng(...)")
            if "numpy" not in seeded
            else None
        )
    if call.name in ("numpy.random.default_rng", "numpy.random.RandomState") and _is_empty(call):
        return call.last, "np.random.default_rng(...)"
    if PYTHON_DRAWS.match(call.name):
        return (call.name, "random.seed(...)") if "random" not in seeded else None
    torch_like = TORCH_DRAWS.match(call.name) or (
        last == "DataLoader" and constant(argument(call.node, "shuffle")) is True
    )
    if torch_like and not _has_seed(call):
        return (call.name, "torch.manual_seed(...)") if "torch" not in seeded else None
    if KERAS_DRAWS.match(call.name):
        return (call.name, "keras.utils.set_random_seed(...)") if "keras" not in seeded else None
    return None


def _samples_frame(call: Call) -> bool:
    if call.name.startswith(("random.", "numpy.", "torch.")):
        return False
    return any(each.arg in ("frac", "n", "weights", "replace") for each in call.node.keywords) or bool(
        call.node.args and isinstance(constant(call.node.args[0]), int)
    )


def _has_seed(call: Call) -> bool:
    named = [argument(call.node, word) for word in SEED_WORDS]
    return any(
        each is not None and not (isinstance(each, ast.Constant) and each.value is None) for each in named
    )


def _is_empty(call: Call) -> bool:
    given = [*call.node.args, *(each.value for each in call.node.keywords)]
    return not given or (constant(given[0]) is None and isinstance(given[0], ast.Constant))


def baseline(code: Code) -> list[Finding]:
    """A model that is compared with nothing."""
    models = list(_models(code))
    if not models or _has_baseline(code) or len({kind for _, kind in models}) > 1:
        return []
    place, kind = models[0]
    return [
        Finding(
            "baseline",
            place.cell,
            place.line,
            f"`{kind}` is the only model, and is compared with nothing.",
            "Compare it with the champion, `open_project().champion()`, or the `rule` candidate; elsewhere "
            "with DummyClassifier or DummyRegressor.",
        )
    ]


def _models(code: Code) -> Iterator[tuple[Place, str]]:
    """Supervised models that are made and fitted, with their kind."""
    fits = any(call.last in FITS for call in code.calls)
    torch_loop = next((call for call in code.calls if call.last == "backward"), None)
    for call in code.calls:
        if fits and MODELS.search(call.last) and not NOT_MODELS.match(call.last):
            yield call.place, call.last
        elif call.name in ("lightgbm.train", "xgboost.train", "lightgbm.cv", "xgboost.cv"):
            yield call.place, call.name
        elif KERAS_DRAWS.match(call.name) and call.last in ("Sequential", "Model"):
            yield call.place, call.last
    if torch_loop:
        networks = (
            call for call in code.calls if call.name.startswith("torch.nn.") and call.last == "Sequential"
        )
        place = next((call.place for call in networks), torch_loop.place)
        yield place, "a network"


def _has_baseline(code: Code) -> bool:
    if any(tokens(name) & BASELINE_WORDS for name in identifiers(code)):
        return True
    if any(call.last.startswith("Dummy") for call in code.calls):
        return True
    for call in code.calls:
        if METRICS.match(call.last) and any(
            isinstance(node, ast.Attribute) and node.attr in CONSTANTS | {"shift"}
            for each in call.node.args
            for node in ast.walk(each)
        ):
            return True
    return any(
        tokens(text) & BASELINE_WORDS
        for cell in code.cells
        for node in ast.walk(cell.tree)
        if isinstance(node, ast.Constant) and isinstance(text := node.value, str)
        and len(text) < 60
    )  # fmt: skip


def interval(code: Code) -> list[Finding]:
    """Metrics without anything that says how far noise alone moves them."""
    metrics = sorted(dict(reversed(list(_metrics(code)))).items())
    if not metrics or _has_interval(code):
        return []
    place, name = metrics[0]
    more = f", and {len(metrics) - 1} more" if len(metrics) > 1 else ""
    return [
        Finding(
            "interval",
            place.cell,
            place.line,
            f"`{name}`{more}: single numbers.",
            "Bootstrap the rows as takeoff.evaluation and takeoff.bootstrap do, or show the spread of folds.",
        )
    ]


def _metrics(code: Code) -> Iterator[tuple[Place, str]]:
    for call in code.calls:
        is_method = isinstance(call.node.func, ast.Attribute)
        of_model = is_method and call.last in ("score", "evaluate") and len(call.node.args) >= 2
        by_hand = not is_method and tokens(call.last) & METRIC_WORDS
        if METRICS.match(call.last) or call.last in CROSS or of_model or by_hand:
            yield call.place, call.last
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if (
                    name.lower() in METRIC_WORDS or tokens(name) & METRIC_WORDS
                ):
                    if any(isinstance(each, ast.Call) for each in ast.walk(node.value)):
                        yield Place(cell.number, node.lineno), name
                case ast.Call(func=ast.Attribute(attr="mean", value=ast.Compare(ops=[ast.Eq()]))):
                    yield Place(cell.number, node.lineno), "accuracy by hand"
                case ast.Call(func=ast.Attribute(attr="mean"), args=[ast.Compare(ops=[ast.Eq()]), *_]):
                    yield Place(cell.number, node.lineno), "accuracy by hand"
                case ast.Attribute(attr="rsquared" | "best_score_" | "oob_score_"):
                    yield Place(cell.number, node.lineno), node.attr


def _has_interval(code: Code) -> bool:
    if any(re.match(r"takeoff\.(evaluation|bootstrap)\b", name) for name in code.aliases.values()):
        return True
    if any(INTERVAL_CALLS.search(call.name) for call in code.calls):
        return True
    if any(tokens(name) & INTERVAL_WORDS for name in identifiers(code)):
        return True
    return any(_is_tail(call) or _is_spread(call, code) for call in code.calls)


def _is_tail(call: Call) -> bool:
    """Whether a call asks for the tails of something, both of them."""
    if call.last not in ("percentile", "quantile", "nanpercentile", "nanquantile"):
        return False
    shares = [constant(each) for each in [*call.node.args, *(word.value for word in call.node.keywords)]]
    return any(
        isinstance(each, list | tuple) and len(each) == 2 and set(each) <= TAIL_SHARES for each in shares
    ) or any(isinstance(each, int | float) and each in TAIL_SHARES for each in shares)


def _is_spread(call: Call, code: Code) -> bool:
    """Whether a call gives the spread of several scores."""
    if call.last not in ("std", "stdev", "var", "ptp"):
        return False
    scored = _score_names(code)
    return any(isinstance(node, ast.Name) and node.id in scored for node in ast.walk(call.node))


def _score_names(code: Code) -> set[str]:
    """Names that hold several scores: of cross-validation, or by their name."""
    found = set()
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Name) and tokens(node.id) & SCORE_WORDS:
                found.add(node.id)
            if isinstance(node, ast.Assign) and any(
                isinstance(each, ast.Name | ast.Attribute)
                and tokens(each.id if isinstance(each, ast.Name) else each.attr) & SCORE_WORDS
                for each in ast.walk(node.value)
            ):
                found |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    return found
