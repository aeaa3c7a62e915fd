"""What a row is: ``contract.yaml`` as values, and a frame held against it.

Imports nothing heavy: the packaged service reads the contract too.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import permutations
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, model_validator

from takeoff.errors import TakeoffError
from takeoff.settings import Settings, nearest, parse, read_yaml

CONTRACT_FILE = "contract.yaml"
RESERVED = "probabilities"  # the output of every model

Severity = Literal["error", "warn"]
RuleKind = Literal["type", "missing", "bounds", "values", "pattern"]
Share = Annotated[float, Field(ge=0, le=1)]


class Column(Settings):
    """One feature of a row."""

    about: str
    type: Literal["category", "number", "integer"]
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] | None = None
    pattern: str | None = None
    missing: Share = 0.0
    warn: tuple[RuleKind, ...] = ()
    example: str | float

    @property
    def is_number(self) -> bool:
        return self.type != "category"

    @model_validator(mode="after")
    def _fits_its_type(self) -> "Column":
        if self.is_number and (self.values is not None or self.pattern is not None):
            raise ValueError("'values' and 'pattern' are for columns of type category")
        if not self.is_number and (self.min is not None or self.max is not None):
            raise ValueError("'min' and 'max' are for columns of type number or integer")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if isinstance(self.example, str) == self.is_number:
            raise ValueError(f"the example must be a {'number' if self.is_number else 'text'}")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"'pattern' is no regular expression: {error}") from None
        return self


class Time(Settings):
    """The column that orders rows, and whose midnight a plain date means."""

    column: str
    zone: str

    @model_validator(mode="after")
    def _zone_exists(self) -> "Time":
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError):
            # A small container may hold no time zones at all; nothing that runs there needs one.
            if known := sorted(available_timezones()):
                near = get_close_matches(self.zone, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else "names look like Europe/Berlin."
                raise ValueError(f"there is no time zone '{self.zone}'; {hint}") from None
        return self


class Target(Settings):
    """The truth, and when it is known."""

    column: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    known_at: str

    @model_validator(mode="after")
    def _classes_differ(self) -> "Target":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class stands twice in 'classes'")
        return self


class ErrorCost(Settings):
    """What it costs to decide one thing when another is true."""

    truth: str
    decision: str
    cost: Annotated[float, Field(ge=0)]


class Costs(Settings):
    """Money per error."""

    currency: str
    per: str
    errors: tuple[ErrorCost, ...]
    review: Annotated[float, Field(ge=0)] | None = None  # a human's decision, who is then right

    @model_validator(mode="after")
    def _each_error_costs_once(self) -> "Costs":
        pairs = [(each.truth, each.decision) for each in self.errors]
        for truth, decision in pairs:
            if truth == decision:
                raise ValueError(f"deciding '{decision}' when it is true is no error")
            if pairs.count((truth, decision)) > 1:
                raise ValueError(f"deciding '{decision}' when '{truth}' is true has two costs")
        return self


class Bound(Settings):
    """A rule on one number that describes the whole table."""

    min: float | None = None
    max: float | None = None
    severity: Severity


class Table(Settings):
    """Rules on the data as a whole."""

    rows: Bound
    split_rows: Bound
    fresh_days: Bound
    class_share: Bound
    unlabelled_share: Bound


class Contract(Settings):
    """What a row is. Columns keep the order of the file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    question: str
    task: Literal["binary"]
    id: str
    time: Time
    target: Target
    costs: Costs
    table: Table
    columns: Annotated[dict[str, Column], Field(min_length=1)]

    @property
    def numbers(self) -> list[str]:
        """Names of the features that are numbers."""
        return [name for name, column in self.columns.items() if column.is_number]

    @property
    def categories(self) -> list[str]:
        """Names of the features that are text."""
        return [name for name, column in self.columns.items() if not column.is_number]

    @property
    def all_columns(self) -> list[str]:
        """Every column of a row, in order: id, times, target, features."""
        return [self.id, self.time.column, self.target.known_at, self.target.column, *self.columns]

    @property
    def hash(self) -> str:
        """SHA-256 (first 16 hex digits) of what the contract says, not of how the file is laid out."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _is_consistent(self) -> "Contract":
        roles = [self.id, self.time.column, self.target.known_at, self.target.column]
        if repeated := [name for name in roles if name in self.columns]:
            raise ValueError(f"'{repeated[0]}' is both a feature and the id, a time or the target")
        if wrong := [name for name in self.columns if "/" in name or name == RESERVED]:
            raise ValueError(f"columns: '{wrong[0]}' can't name a column: the models use such names inside")
        if len(set(roles)) < len(roles):
            raise ValueError("id, time.column, target.column and target.known_at must be four columns")
        if self.task == "binary" and len(self.target.classes) != 2:
            raise ValueError("a binary task has two classes in target.classes")
        for error in self.costs.errors:
            for name in (error.truth, error.decision):
                if name not in self.target.classes:
                    raise ValueError(
                        f"costs.errors: '{name}' is not a class; {nearest(name, list(self.target.classes))}"
                    )
        priced = {(error.truth, error.decision) for error in self.costs.errors}
        for truth, decision in permutations(self.target.classes, 2):
            if (truth, decision) not in priced:
                raise ValueError(
                    f"costs.errors: nothing says what it costs to decide '{decision}' when '{truth}' is true"
                )
        return self


def check_columns(columns: Sequence[str], contract: Contract) -> None:
    """Raise a TakeoffError unless data has exactly the columns of the contract, in any order."""
    if unknown := [name for name in contract.all_columns if name not in columns]:
        raise TakeoffError(
            f"{CONTRACT_FILE}: the data has no column '{unknown[0]}'; {nearest(unknown[0], list(columns))}"
        )
    if extra := [name for name in columns if name not in contract.all_columns]:
        raise TakeoffError(
            f"{CONTRACT_FILE}: the data has a column '{extra[0]}' that is not in the contract. "
            f"Describe it under 'columns', or leave it out of the data set."
        )


def read_contract(folder: Path) -> Contract:
    """The contract of the project in `folder`.

    Raises:
        TakeoffError: the file is missing or says something that is not allowed.
    """
    return parse(Contract, read_yaml(folder / CONTRACT_FILE), CONTRACT_FILE)
