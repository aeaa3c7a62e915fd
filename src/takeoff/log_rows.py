"""The rows of the prediction log, which are texts of JSON, as a frame of the contract's columns.

The array that the service writes for a row is, without its brackets, a line of CSV, which pyarrow reads
many times as fast as anything reads JSON. What CSV would read otherwise is read as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from pydantic_core import from_json, to_json

from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_lines import read_csv

NUMBER = pa.float32()
CATEGORY = pa.dictionary(pa.int32(), pa.string())
MISSING = "null"


class _Way(NamedTuple):
    """How some rows are read: their columns, and whether they are CSV."""

    names: tuple[str, ...]
    is_csv: bool


def parse_rows(
    lines: str, used: "pd.Series[Any]", contracts: Mapping[str, Sequence[str]], contract: Contract
) -> pd.DataFrame:
    """Rows of the log as a frame.

    Args:
        lines: for each row a line, which is a JSON array of its values.
        used: for each row the hash of the contract by which it was written, category.
        contracts: by hash, the columns in the order of a row's values.
        contract: whose columns the frame gets.

    Returns:
        The contract's columns in its order, with a RangeIndex: numbers float32 with NaN where missing,
        categories `category` of str. What a row's own contract did not have is missing, as is a text in a
        column of numbers.

    Raises:
        TakeoffError: a row has another number of values than its contract.
    """
    columns = {hash_: tuple(contracts[hash_]) for hash_ in used.unique()}
    if len(set(columns.values())) == 1 and _is_csv(lines):  # nearly always, and quick to tell
        [names] = set(columns.values())
        table = _fitted(_from_csv(lines, names, contract), contract)
    else:
        texts = lines.split("\n")
        ways: dict[_Way, list[int]] = {}
        for place, (text, hash_) in enumerate(zip(texts, used, strict=True)):
            ways.setdefault(_Way(columns[hash_], _is_csv(text)), []).append(place)
        parts = [
            _fitted(_read("\n".join(texts[place] for place in places), way, contract), contract)
            for way, places in ways.items()
        ]
        order = np.argsort(np.concatenate(list(ways.values())))
        table = pa.concat_tables(parts).unify_dictionaries().take(order)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def parse_arrays(lines: str, size: int) -> npt.NDArray[np.float32]:
    """Arrays of numbers of the log.

    Args:
        lines: for each row a line, which is a JSON array of numbers, or empty.
        size: numbers of each array.

    Returns:
        float32, shape (n, size); NaN where there is no array, or one of another size.
    """
    gap = f"[{','.join([MISSING] * size)}]"
    filled = _filled(lines, gap)
    try:
        table = _csv(filled, {str(place): pa.float64() for place in range(size)})
    except pa.ArrowInvalid:  # one of another size
        nothing = [None] * size
        arrays = [each if len(each) == size else nothing for each in _json(filled)]
        return np.array(arrays, dtype=np.float32)
    return np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float32)


def _filled(lines: str, gap: str) -> str:
    """The same with `gap` in place of each line that is empty."""
    if "\n\n" not in lines and not lines.startswith("\n") and not lines.endswith("\n") and lines:
        return lines
    return "\n".join(each or gap for each in lines.split("\n"))


def _read(lines: str, way: _Way, contract: Contract) -> pa.Table:
    return (_from_csv if way.is_csv else _from_json)(lines, way.names, contract)


def _is_csv(text: str) -> bool:
    """Whether CSV reads it as JSON does: no escaped character, no space behind a comma.

    A comma and a space may stand in a text as well, which then costs time and nothing else.
    """
    return "\\" not in text and ", " not in text


def _from_csv(lines: str, names: Sequence[str], contract: Contract) -> pa.Table:
    # As the service reads a number: into 64 bits, and from there into the 32 of the model.
    kinds = {name: pa.float64() if _is_number(name, contract) else CATEGORY for name in names}
    try:
        return _csv(lines, kinds)
    except pa.ArrowInvalid:  # a text in a column of numbers, which was none in another contract
        return _from_json(lines, names, contract)


def _csv(lines: str, kinds: dict[str, pa.DataType]) -> pa.Table:
    # Without the brackets. No text of JSON holds a line's end, so this meets nothing else.
    content = lines.encode().replace(b"]\n[", b"\n")[1:-1]
    return read_csv(content, kinds, csv.ParseOptions(ignore_empty_lines=False), MISSING)


def _json(lines: str) -> list[Any]:
    arrays: list[Any] = from_json("[" + lines.replace("\n", ",") + "]")
    return arrays


def _from_json(lines: str, names: Sequence[str], contract: Contract) -> pa.Table:
    rows = _json(lines)
    if wrong := [row for row in rows if len(row) != len(names)]:
        raise TakeoffError(
            f"The prediction log is damaged: a row has {len(wrong[0])} values, but its contract "
            f"{len(names)} columns. Find out what else writes into it, or use another log."
        )
    return pa.table(
        {
            name: pa.array(map(_number, values), pa.float64())
            if _is_number(name, contract)
            else pa.array(map(_text, values), pa.string()).dictionary_encode()
            for name, values in zip(names, zip(*rows, strict=True), strict=True)
        }
    )


def _fitted(part: pa.Table, contract: Contract) -> pa.Table:
    """The contract's columns of it, in its order and of its types; those that it lacks are missing."""
    fitted: dict[str, Any] = {}
    for name, column in contract.columns.items():
        kind = NUMBER if column.is_number else CATEGORY
        there = name in part.column_names
        fitted[name] = part[name].cast(kind, safe=False) if there else pa.nulls(len(part), kind)
    return pa.table(fitted)


def _is_number(name: str, contract: Contract) -> bool:
    return name in contract.columns and contract.columns[name].is_number


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else to_json(value).decode()
