"""What to do about a model that ONNX can't hold, in the words of whoever wrote the model."""

import re

CLASS = re.compile(r"<class '(?:[\w<>]+\.)*(\w+)'>")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

BY_HAND = "or write the graph by hand, as src/takeoff/candidates/rule.py does"
REPLACEMENTS = {
    "FunctionTransformer": "A Python function has no form in ONNX. Take a transformer that scikit-learn has "
    "for it (StandardScaler, PowerTransformer, KBinsDiscretizer, Binarizer, PolynomialFeatures), let the "
    f"ColumnTransformer choose columns by name, {BY_HAND}",
    "SplineTransformer": "KBinsDiscretizer or PolynomialFeatures bend a line too, and have one",
    "MissingIndicator": "SimpleImputer with a constant far outside, then Binarizer, give the same flag: see "
    "`_missing_flags` in src/takeoff/candidates/logistic.py",
    "IterativeImputer": "SimpleImputer and KNNImputer have one",
    "HashingVectorizer": "CountVectorizer and TfidfVectorizer have one",
    "FixedThresholdClassifier": "Leave it out: from which probability on to act is the release's business",
    "LabelPropagation": "KNeighborsClassifier looks at neighbours too, and has one",
    "NearestCentroid": "GaussianNB and LinearDiscriminantAnalysis work by class means too, and have one",
}
SCALED_TREES = (
    "ONNX computes in float32. Steps that cut a number at a threshold (trees, QuantileTransformer, "
    "KBinsDiscretizer) may put a row on the other side there: let them see raw numbers instead of scaled "
    "ones, cut where the data has values (quantile_method='inverted_cdf' of KBinsDiscretizer), or round what "
    "they see to float32 first, as src/takeoff/candidates/boosted.py does. Unscaled numbers of very "
    "different size in front of a linear step lose digits as well: scale those."
)


def advice(error: Exception) -> str:
    """Which step has no ONNX form, and what to put in its place.

    Args:
        error: what the conversion, or the first run of its file, raised.
    """
    text = COLOURS.sub("", str(error))
    if type(error).__module__.startswith("torch"):
        return f"The network can't be written as ONNX: {_summary(text)}. {_for_networks(text)}"
    if "expected shape" in text and "Mismatch" in text:
        return (
            "The pipeline can't be written as ONNX: a step gives more columns than its ONNX form, as "
            f"SimpleImputer(add_indicator=True) does. {REPLACEMENTS['MissingIndicator']}."
        )
    step = _step(text)
    if step is None:
        return f"The model can't be written as ONNX: {type(error).__name__}: {_first_line(text)}."
    instead = REPLACEMENTS.get(step, f"Replace it by steps of scikit-learn that have one, {BY_HAND}")
    return f"The pipeline can't be written as ONNX: its step {step} has no ONNX form. {instead}."


def _step(text: str) -> str | None:
    if found := CLASS.search(text):
        return found[1]
    return next((name for name in REPLACEMENTS if name in text), None)


def _summary(text: str) -> str:
    """The reason within what torch prints around it."""
    after = text.partition("## Exception summary")[2] or text
    line = re.sub(r"^<class '[^']*'>:\s*", "", _first_line(after))
    return line.rstrip(". ")


def _for_networks(text: str) -> str:
    if "No ONNX function" in text:
        return "Write that operation with others in `forward`."
    return (
        "In `forward`, use torch's own operations on whole batches: no `if` or loop that depends on values "
        "(torch.where chooses), no numpy, no print, and no number of rows that is fixed."
    )


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    return line if len(line) <= 300 else f"{line[:300]}..."
