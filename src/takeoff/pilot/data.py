"""How a notebook gets its rows, and how it splits those that have a time."""

import ast
import re
from collections.abc import Iterator

from takeoff.pilot.code import Call, Code, Place, argument, constant, has_spread
from takeoff.pilot.facts import Outcome
from takeoff.pilot.finding import Finding

CONTRACT_NAMES = re.compile(
    r"^takeoff\.(contract|notebook|dataset|features)\b|^takeoff\.stage\.read_config|^takeoff\.files\.read_rows"
)
READS = re.compile(
    r"^(pandas|polars|pl|pd|dask\.dataframe|geopandas|modin\.pandas|cudf|pyarrow\.\w+|pyreadstat|awswrangler\.\w+)"
    r"\.(read_\w+|scan_\w+|ParquetFile|ParquetDataset|dataset|open_csv|open_file)$"
    r"|^numpy\.(load|loadtxt|genfromtxt|fromfile|memmap)$|^scipy\.io\.\w+$"
    r"|^(sqlite3|psycopg2?|pymysql|pyodbc|duckdb|snowflake\.connector|mysql\.connector|oracledb)\.(connect|sql|query)$"
    r"|^duckdb\.read_\w+$|^sqlalchemy\.create_engine$"
    r"|^(requests|httpx)\.(get|post)$|^requests\.Session\(\)\.get$|^urllib\.request\.(urlopen|urlretrieve)$|^wget\.download$"
    r"|^datasets\.load_(dataset|from_disk)$|^sklearn\.datasets\.(fetch|load)_\w+$|^torchvision\.datasets\.\w+$"
    r"|^(seaborn|vega_datasets)\.load_dataset$|^tensorflow_datasets\.load$|^kagglehub\.\w+download$|^gdown\.download$"
    r"|^(joblib|pickle|dill|cloudpickle)\.load$|^torch\.load$|^json\.load$|^boto3\.(client|resource)$|^openml\.\w+\.get_\w+$"
    r"|(^|\.)spark\.(sql|table)$|(^|\.)spark\.read\.\w+$|^ucimlrepo\.fetch_ucirepo$|^h5py\.File$|^zarr\.open$"
)
READ_METHODS = re.compile(
    r"\.(read_text|read_bytes|read_csv|read_parquet|read_sql|read_excel|fetchall|fetch_df)$"
)
FETCHES = re.compile(r"(^|[\s;&|])(wget|curl|gdown|kaggle|aws s3 cp|gsutil|rclone|scp)\s")

# Words of the names of columns that say when a row happened.
ROW_TIMES = {"date", "datetime", "timestamp", "dates", "dteday", "yyyymm", "yearmonth"}
EXACT_TIMES = {"time", "year", "month", "day", "hour", "week", "quarter", "ts", "ds", "weekofyear", "fl_date"}
NO_ROW_TIME = re.compile(r"birth|dob|built|expir|warranty|founded|model_year|update_?d?$")
TIME_CALLS = {"pandas.to_datetime", "pandas.date_range", "pandas.bdate_range", "pandas.period_range"}
TIME_ACCESSORS = {"dt"}

SHUFFLED = {
    "ShuffleSplit",
    "StratifiedShuffleSplit",
    "GroupShuffleSplit",
    "RepeatedKFold",
    "RepeatedStratifiedKFold",
}
FOLDS = {"KFold", "StratifiedKFold", "StratifiedGroupKFold"}
CROSS = {"cross_val_score", "cross_validate", "cross_val_predict"}
SEARCHES = {
    "GridSearchCV",
    "RandomizedSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "BayesSearchCV",
}
RANDOM_MASKS = {"rand", "random", "random_sample", "uniform", "binomial"}
SPLIT_ACTION = (
    "Split by time, as `open_project().rows('fit')`, `'validation'` and `'test'` are; elsewhere cut at a "
    "date, or use TimeSeriesSplit."
)


def uses_contract(code: Code) -> bool:
    """Whether a notebook opens the project, or reads its contract."""
    return any(CONTRACT_NAMES.match(each) for each in code.aliases.values()) or any(
        CONTRACT_NAMES.match(each.module) for each in code.imports
    )


def contract(code: Code) -> list[Finding]:
    """Rows that come from anywhere, where nothing of the contract is used."""
    if uses_contract(code):
        return []
    found = {each.place: _text(each) for each in reversed(code.calls) if _reads(each)}
    for command in code.commands:
        if (command.mark == "!" and FETCHES.search(f" {command.text}")) or command.text.startswith("sql "):
            found[command.place] = f"{command.mark}{command.text}"
    return [
        Finding(
            "contract",
            place.cell,
            place.line,
            f"`{text}`",
            "Use `takeoff.notebook.open_project().rows('fit')`; describe rows of other data in contract.yaml "
            "and read it in src/takeoff/dataset.py.",
        )
        for place, text in sorted(found.items())
    ]


def _reads(call: Call) -> bool:
    if any(
        isinstance(node, ast.Name | ast.Attribute) and "StringIO" in ast.dump(node)
        for node in ast.walk(call.node)
    ):
        return False
    if call.name in ("open", "io.open", "gzip.open") or re.fullmatch(r".*\bPath\(\)\.open", call.name):
        mode = constant(argument(call.node, "mode", 1))
        return not isinstance(mode, str) or not set(mode) & set("wax")
    if call.name == "json.load":
        return False  # the open before it is told
    return bool(READS.search(call.name) or READ_METHODS.search(call.name))


def _text(call: Call) -> str:
    said = ast.unparse(call.node)
    return said if len(said) <= 70 else f"{said[:67]}..."


def split(code: Code, outcome: Outcome) -> list[Finding]:
    """Rows that are split at random, or into folds that ignore order, where the data has a time."""
    why = time_of(code, outcome)
    if why is None:
        return []
    return [
        Finding("split", place.cell, place.line, f"{text}, though the data has a time: {why}.", SPLIT_ACTION)
        for place, text in sorted(dict(_random_splits(code)).items())
    ]


def time_of(code: Code, outcome: Outcome) -> str | None:
    """What shows that rows have a time, in words; None where nothing does."""
    if outcome.facts and outcome.facts.times:
        frame, column = outcome.facts.times[0]
        return f"`{column}` of `{frame}`"
    for call in code.calls:
        if call.name in TIME_CALLS and not _names_no_row_time(call.node):
            return f"`{call.last}(...)` in cell {call.place.cell}"
        dates = argument(call.node, "parse_dates")
        if dates is not None and constant(dates) is not False and not _names_no_row_time(dates):
            return f"`parse_dates` in cell {call.place.cell}"
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in TIME_ACCESSORS
                and not _names_no_row_time(node)
            ):
                return f"`.dt` in cell {cell.number}"
            if isinstance(node, ast.Subscript | ast.List):
                for name in _texts(node):
                    if is_row_time(name):
                        return f"`{name}` in cell {cell.number}"
    return None


def is_row_time(name: str) -> bool:
    """Whether a column, by its name, says when its row happened."""
    low = name.lower().strip()
    words = set(re.split(r"[^a-z]+", low))
    if NO_ROW_TIME.search(low) or len(low) > 40:
        return False
    return low in EXACT_TIMES or bool(words & ROW_TIMES) or low.endswith("_at")


def _names_no_row_time(node: ast.AST) -> bool:
    """Whether all columns that are named here hold times of something else, such as births."""
    names = [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    names += [each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)]
    return any(NO_ROW_TIME.search(name.lower()) for name in names)


def _texts(node: ast.Subscript | ast.List) -> Iterator[str]:
    items = node.elts if isinstance(node, ast.List) else [node.slice]
    for item in items:
        if isinstance(text := constant(item), str):
            yield text


def _random_splits(code: Code) -> Iterator[tuple[Place, str]]:
    whole = any(call.last in ("train_test_split", "TimeSeriesSplit") for call in code.calls)
    for call in code.calls:
        shuffle = constant(argument(call.node, "shuffle"))
        given = argument(call.node, "shuffle") is not None
        if (
            call.last == "train_test_split"
            and shuffle is not False
            and not (has_spread(call.node) and not given)
        ):
            yield call.place, "`train_test_split` shuffles rows"
        elif call.last in SHUFFLED:
            yield call.place, f"`{call.last}` draws rows at random"
        elif call.last in FOLDS and (shuffle is True or constant(argument(call.node, "shuffle", 1)) is True):
            yield call.place, f"`{call.last}(shuffle=True)` shuffles rows"
        elif call.last in ("random_split", "randomSplit"):
            yield call.place, f"`{call.last}` draws rows at random"
        elif (call.last in CROSS and _plain_folds(call) and not whole) or (
            call.last in SEARCHES and _plain_folds(call) and not whole and not _splits_by_hand(code)
        ):
            yield call.place, f"`{call.last}` fits on rows that are later than those it judges"
        elif call.last == "sample" and _sample_splits(call, code):
            yield call.place, "`sample` draws rows at random"
        elif call.last in ("permutation", "randperm") and _counts_rows(call.node):
            yield call.place, f"`{call.last}` shuffles rows"
        elif call.last == "shuffle" and call.name in (
            "random.shuffle",
            "numpy.random.shuffle",
            "sklearn.utils.shuffle",
        ):
            yield call.place, f"`{call.name}` shuffles rows"
        elif (
            call.last == "choice"
            and constant(argument(call.node, "replace")) is False
            and _counts_rows(call.node)
        ):
            yield call.place, "`choice` draws rows at random"
    yield from _masks(code)


def _plain_folds(call: Call) -> bool:
    folds = argument(call.node, "cv")
    return folds is None or isinstance(constant(folds), int)


def _splits_by_hand(code: Code) -> bool:
    """Whether some rows are kept apart by a date or a position, before any folds."""
    words = ("test", "held", "holdout", "valid")
    return any(
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and any(w in node.id.lower() for w in words)
        for cell in code.cells
        for node in ast.walk(cell.tree)
    )


def _sample_splits(call: Call, code: Code) -> bool:
    share = argument(call.node, "frac")
    if share is None:
        return False
    if constant(share) in (1, 1.0):
        return constant(argument(call.node, "replace")) is not True
    drops = any(
        each.last in ("drop", "isin", "difference")
        and any(isinstance(node, ast.Attribute) and node.attr == "index" for node in ast.walk(each.node))
        for each in code.calls
    )
    return drops


def _counts_rows(call: ast.Call) -> bool:
    """Whether the first argument is a number of rows, or their index, rather than values."""
    if not call.args:
        return False
    first = call.args[0]
    match first:
        case ast.Call(func=ast.Name(id="len" | "range")) | ast.Call(func=ast.Attribute(attr="arange")):
            return True
        case ast.Subscript(value=ast.Attribute(attr="shape")) | ast.Attribute(attr="index" | "size"):
            return True
        case ast.Call(func=ast.Attribute(attr="size" | "__len__")):
            return True
        case ast.Name(id=name):
            return bool(re.fullmatch(r"n|n_?(rows|samples|all|total)|idx|ind(ices|ex)|rows|ids", name))
    return False


def _masks(code: Code) -> Iterator[tuple[Place, str]]:
    """Comparisons of as many random numbers as there are rows with a share."""
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if not isinstance(node, ast.Compare) or not isinstance(
                node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE
            ):
                continue
            for call in (node.left, *node.comparators):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr in RANDOM_MASKS
                    and any(_counts_rows(ast.Call(call.func, [each], [])) for each in _sizes(call))
                ):
                    yield Place(cell.number, node.lineno), "A random mask draws rows"


def _sizes(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords if each.arg == "size")]
