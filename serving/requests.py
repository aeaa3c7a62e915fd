"""The request model: what a caller may send, derived from the contract and from nothing else."""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import SchemaError

from takeoff.contract import CONTRACT_FILE, Column, Contract
from takeoff.errors import TakeoffError
from takeoff.model import MISSING_TEXT

# A model is fed float32, in which a larger number would become infinity.
LARGEST_NUMBER = float(np.finfo(np.float32).max)


def request_model(contract: Contract) -> type[BaseModel]:
    """A strict pydantic model of one row.

    Types, bounds, values, patterns and what may be missing (null or left out) are the contract's. A rule
    under a column's `warn` does not refuse; a wrong type always does, since a model can't be fed with it.
    Infinity, NaN, numbers too large for float32, booleans and text for numbers and unknown fields are
    refused. Patterns are searched by a linear-time engine, so no text can hold the service up.

    Raises:
        TakeoffError: a pattern needs what that engine lacks.
    """
    try:
        return create_model(
            "Row",
            __config__=ConfigDict(
                extra="forbid",
                strict=True,
                json_schema_extra={"example": example_row(contract)},
            ),
            __doc__=contract.question,
            # A column may be called anything, also what a Python attribute may not be called.
            **{f"column_{i}": _field(name, column) for i, (name, column) in enumerate(_columns(contract))},
        )
    except SchemaError as error:
        raise TakeoffError(
            f"{CONTRACT_FILE}: a 'pattern' cannot be used by the service, which knows no look-around and no "
            f"back-references: {str(error).splitlines()[-1].strip()}"
        ) from None


def example_row(contract: Contract) -> dict[str, Any]:
    """The contract's examples as one row, as a caller would send it."""
    return {name: _whole(column.example) for name, column in _columns(contract)}


def to_columns(row: BaseModel, contract: Contract) -> dict[str, np.ndarray]:
    """One row as `takeoff.model.predict` takes it.

    Returns:
        One array of shape (1,) per contract column: float32 with NaN where missing, or object (str) with
        "" where missing.
    """
    values = row.model_dump(by_alias=True)
    return {
        name: _array(values[name], np.float32, np.nan)
        if column.is_number
        else _array(values[name], object, MISSING_TEXT)
        for name, column in _columns(contract)
    }


def _columns(contract: Contract) -> list[tuple[str, Column]]:
    return list(contract.columns.items())


def _array(value: Any, dtype: Any, missing: Any) -> np.ndarray:
    return np.array([missing if value is None else value], dtype=dtype)


def _field(name: str, column: Column) -> tuple[Any, Any]:
    value = _number(column) if column.is_number else _text(column)
    may_be_missing = column.missing > 0 or "missing" in column.warn
    field = Field(
        default=None if may_be_missing else ...,
        alias=name,
        description=column.about + (f" [{column.unit}]" if column.unit else ""),
        examples=[_whole(column.example)],
        # BentoML's OpenAPI document drops the null of an optional type, but keeps this.
        json_schema_extra={"nullable": True} if may_be_missing else None,
    )
    return (value | None if may_be_missing else value), field


def _number(column: Column) -> Any:
    lowest, highest = -LARGEST_NUMBER, LARGEST_NUMBER
    if "bounds" not in column.warn:
        lowest = lowest if column.min is None else column.min
        highest = highest if column.max is None else column.max
    if column.type == "integer" and "type" not in column.warn:
        # In this order the bounds stay on the number itself, and in the JSON schema.
        return Annotated[int, Field(ge=math.ceil(lowest), le=math.floor(highest)), BeforeValidator(_whole)]
    return Annotated[float, Field(ge=lowest, le=highest, allow_inf_nan=False)]


def _text(column: Column) -> Any:
    if column.values is not None and "values" not in column.warn:
        return Literal[column.values]
    pattern = None if "pattern" in column.warn else column.pattern
    # Text without characters is how a missing value reaches the model; a caller says null instead.
    return Annotated[str, Field(min_length=1, pattern=pattern)]


def _whole(value: Any) -> Any:
    """A whole number as an int: many callers' languages write 17 as 17.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
