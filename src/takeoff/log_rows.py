"""The rows of the prediction log, which are texts of JSON, as a frame of the contract's columns.

The array that the service writes for a row is, without its brackets, a line of CSV, which pyarrow reads
many times as fast as anything reads JSON. What CSV would read otherwise is read as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from pydantic_core import from_json, to_json

from takeoff.contract import Contract
from takeoff.errors import TakeoffError

NUMBER = pa.float32()
CATEGORY = pa.dictionary(pa.int32(), pa.string())
MISSING = "null"


def parse_rows(
    texts: Sequence[str], used: Sequence[str], contracts: Mapping[str, Sequence[str]], contract: Contract
) -> pd.DataFrame:
    """Rows of the log as a frame.

    Args:
        texts: for each row a JSON array of its values.
        used: for each row the hash of the contract by which it was written.
        contracts: by hash, the columns in the order of a row's values.
        contract: whose columns the frame gets.

    Returns:
        The contract's columns in its order, with a RangeIndex: numbers float32 with NaN where missing,
        categories `category` of str. What a row's own contract did not have is missing, as is a text in a
        column of numbers.

    Raises:
        TakeoffError: a row has another number of values than its contract.
    """
    parts: list[pa.Table] = []
    places: list[int] = []
    for (names, is_csv), chosen in _ways(texts, used, contracts).items():
        some = texts if len(chosen) == len(texts) else [texts[place] for place in chosen]
        part = _from_csv(some, names, contract) if is_csv else _from_json(some, names, contract)
        parts.append(_fitted(part, contract))
        places += chosen
    table = pa.concat_tables(parts)
    if len(parts) > 1:
        table = table.unify_dictionaries().take(np.argsort(places))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def parse_arrays(texts: Sequence[str | None], size: int) -> npt.NDArray[np.float32]:
    """Arrays of numbers of the log.

    Args:
        texts: for each row a JSON array of numbers, or None.
        size: numbers of each array.

    Returns:
        float32, shape (n, size); NaN where there is no array, or one of another size.
    """
    gap = f"[{','.join([MISSING] * size)}]"
    filled = [gap if text is None else text for text in texts]
    try:
        table = _csv(filled, {str(place): pa.float64() for place in range(size)})
    except pa.ArrowInvalid:  # one of another size
        nothing = [None] * size
        arrays = [each if len(each) == size else nothing for each in from_json(f"[{','.join(filled)}]")]
        return np.array(arrays, dtype=np.float32)
    return np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float32)


def _ways(
    texts: Sequence[str], used: Sequence[str], contracts: Mapping[str, Sequence[str]]
) -> dict[tuple[tuple[str, ...], bool], Sequence[int]]:
    """Places of the rows by how they are read: their columns, and whether they are CSV."""
    columns = {hash_: tuple(contracts[hash_]) for hash_ in set(used)}
    if len(set(columns.values())) == 1 and _is_csv("\n".join(texts)):  # nearly always, and quick to tell
        return {(columns[used[0]], True): range(len(texts))}
    ways: dict[tuple[tuple[str, ...], bool], Sequence[int]] = {}
    found: dict[tuple[str, bool], list[int]] = {}
    for place, (text, hash_) in enumerate(zip(texts, used, strict=True)):
        found.setdefault((hash_, _is_csv(text)), []).append(place)
    for (hash_, is_csv), places in found.items():
        ways[columns[hash_], is_csv] = [*ways.get((columns[hash_], is_csv), []), *places]
    return ways


def _is_csv(text: str) -> bool:
    """Whether CSV reads it as JSON does: no escaped character, no space behind a comma.

    A comma and a space may stand in a text as well, which then costs time and nothing else.
    """
    return "\\" not in text and ", " not in text


def _from_csv(texts: Sequence[str], names: Sequence[str], contract: Contract) -> pa.Table:
    # As the service reads a number: into 64 bits, and from there into the 32 of the model.
    kinds = {name: pa.float64() if _is_number(name, contract) else CATEGORY for name in names}
    try:
        return _csv(texts, kinds)
    except pa.ArrowInvalid:  # a text in a column of numbers, which was none in another contract
        return _from_json(texts, names, contract)


def _csv(texts: Sequence[str], kinds: Mapping[str, pa.DataType]) -> pa.Table:
    # Without the brackets. No text of JSON holds a line's end, so this meets nothing else.
    content = "\n".join(texts).encode().replace(b"]\n[", b"\n")[1:-1]
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(column_names=list(kinds), block_size=len(content) + 1),
        csv.ParseOptions(ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=kinds,
            null_values=[MISSING],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _from_json(texts: Sequence[str], names: Sequence[str], contract: Contract) -> pa.Table:
    rows = from_json(f"[{','.join(texts)}]")
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
