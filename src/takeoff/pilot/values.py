"""What `trace` knows of a value: a table with columns, a column and what it was made from, a model."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from takeoff.pilot.code import Place

# How a column was used: its own row's value, an earlier row's, a later row's, or a figure over many rows.
How = Literal["now", "before", "ahead", "grouped"]
Source = tuple[str, How]

# Words of the names of what is one side of a split.
PART_WORDS = {"train", "trn", "test", "tst", "valid", "validation", "val", "holdout", "held", "dev", "eval"}


@dataclass(frozen=True)
class Column:
    """One column, or numbers made from some.

    Attributes:
        origin: of the table that it is from.
        sources: columns that it was made from, down to the first, and how; its own name among them.
        names: columns that were read right here.
        part: its rows are one side of a split.
        made: the notebook made its values up.
    """

    origin: str
    sources: frozenset[Source]
    names: frozenset[str]
    part: bool
    made: bool
    place: Place
    order: int

    def used(self, how: How) -> "Column":
        """The same, moved to other rows; what already was of other rows stays so."""
        moved = frozenset((name, how if old == "now" else old) for name, old in self.sources)
        return replace(self, sources=moved)


@dataclass
class Table:
    """A table: changed in place where the notebook does so.

    Attributes:
        known: its columns where the code says so; None where it has all of `origin` but those `dropped`.
        derived: columns that the notebook made.
        selected: where its columns were chosen.
    """

    origin: str
    selected: Place
    known: frozenset[str] | None = None
    dropped: frozenset[str] = frozenset()
    derived: dict[str, Column] = field(default_factory=dict)
    part: bool = False
    made: bool = False
    grouped: bool = False

    def copy(self) -> "Table":
        return replace(self, derived=dict(self.derived))

    def has(self, name: str) -> bool:
        return name in self.known if self.known is not None else name not in self.dropped

    def column(self, name: str, place: Place, order: int) -> Column:
        made = self.derived[name].sources if name in self.derived else frozenset()
        own: Source = (name, "now")
        found = Column(
            self.origin,
            frozenset({own}) | made,
            frozenset({name}),
            self.part,
            self.made,
            place,
            order,
        )
        return found.used("grouped") if self.grouped else found

    def with_column(self, name: str, value: Column) -> None:
        """Add a column in place."""
        self.derived[name] = value
        self.dropped -= {name}
        if self.known is not None:
            self.known |= {name}

    def chosen(self, names: Iterable[str], place: Place) -> "Table":
        other = self.copy()
        other.known, other.selected = frozenset(names), place
        return other

    def without(self, names: Iterable[str], place: Place) -> "Table":
        other = self.copy()
        other.drop(names)
        other.selected = place
        return other

    def drop(self, names: Iterable[str]) -> None:
        """Take columns away in place."""
        gone = frozenset(names)
        if self.known is not None:
            self.known -= gone
        self.dropped |= gone


@dataclass(frozen=True)
class Names:
    """A list of texts, such as column names."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class AllColumns:
    """The columns of a table, but some."""

    table: Table
    but: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Many:
    """Several values, as in a tuple."""

    items: tuple["Value", ...]


@dataclass
class Model:
    """An estimator or transformer, by the dotted name of its class."""

    kind: str


@dataclass(frozen=True)
class Rows:
    """Marks that are drawn at random or by position, to tell one side of a split from the other."""


Value = Table | Column | Names | AllColumns | Many | Model | Rows | None


@dataclass(frozen=True)
class Learnt:
    """Something was learnt from rows: by what, when, and whether from one side of a split only.

    Attributes:
        rows: marks of what these rows came from; see `State.marks`.
    """

    place: Place
    order: int
    by: str
    part: bool
    rows: frozenset[str]


@dataclass(frozen=True)
class Divided:
    """Rows were split: where, when, and which; see `Learnt`."""

    place: Place
    order: int
    rows: frozenset[str]


@dataclass(frozen=True)
class Pair:
    """Features and the target that they are to predict, brought together at `place`."""

    place: Place
    order: int
    features: Table
    target: Column


@dataclass
class Trace:
    """What happened, in the order of the file, functions where they are called.

    Attributes:
        divided: where and when rows were split.
        selects: the code has a step that selects columns by itself, so a fit's table says little.
    """

    learnt: list[Learnt] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    divided: list[Divided] = field(default_factory=list)
    selects: bool = False


def joined(values: Iterable[Value]) -> Value:
    """What numbers made from all of these are: a column of all sources, or the first table."""
    given = [value for value in values if value is not None]
    flat = [each for value in given for each in (value.items if isinstance(value, Many) else (value,))]
    tables = [each for each in flat if isinstance(each, Table)]
    columns = [each for each in flat if isinstance(each, Column)]
    if tables:
        first = tables[0].copy()
        first.part = all(each.part for each in tables)
        for other in tables[1:]:
            if first.known is not None and other.known is not None:
                first.known |= other.known
            first.derived |= {
                name: value for name, value in other.derived.items() if name not in first.derived
            }
        return first
    if columns:
        return replace(
            columns[0],
            sources=frozenset().union(*(each.sources for each in columns)),
            names=frozenset().union(*(each.names for each in columns)),
            part=any(each.part for each in columns),
            made=any(each.made for each in columns),
        )
    return next((each for each in flat if isinstance(each, Rows)), None)


def joined_names(values: Iterable[Value]) -> frozenset[str]:
    """All texts in lists of texts."""
    return frozenset(text for each in values if isinstance(each, Names) for text in each.items)


def part_of(value: Value) -> Value:
    """The same, as one side of a split."""
    if isinstance(value, Table):
        other = value.copy()
        other.part = True
        return other
    return replace(value, part=True) if isinstance(value, Column) else value


def is_part(value: Value) -> bool:
    """Whether rows are one side of a split."""
    if isinstance(value, Many):
        return any(is_part(each) for each in value.items)
    return isinstance(value, Table | Column) and value.part
