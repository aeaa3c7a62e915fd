"""What a clean run of a notebook showed: whether it got through, and what its names then held."""

from typing import NamedTuple


class Telling(NamedTuple):
    """A column that alone tells the target, as measured; `how` says how well."""

    features: str
    column: str
    how: str


class Estimator(NamedTuple):
    """A fitted estimator that a name held: where its class is from, and what its class is called."""

    name: str
    module: str
    kind: str


class Facts(NamedTuple):
    """What names held at the end of a run.

    Attributes:
        columns: of each frame, by the name that held it.
        times: columns, or the index, of a frame that hold times: (frame, column).
        telling: columns that alone tell the target.
        estimators: fitted ones, steps of pipelines too.
    """

    columns: dict[str, tuple[str, ...]]
    times: tuple[tuple[str, str], ...]
    telling: tuple[Telling, ...]
    estimators: tuple[Estimator, ...]


class Stopped(NamedTuple):
    """Where and why a run stopped: the cell's number, the exception, and whether that cell once worked."""

    cell: int
    line: int | None
    name: str
    value: str
    worked_once: bool


class Outcome(NamedTuple):
    """What a run came to; `facts` are those until it stopped, and missing where nothing could be learnt."""

    ran: bool
    stopped: Stopped | None = None
    facts: Facts | None = None
    seconds: float = 0.0


NOT_RUN = Outcome(ran=False)
