"""What came of holding rules against rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from takeoff.check_rules import Rule
from takeoff.contract import Severity

NO_POSITIONS: npt.NDArray[np.int64] = np.empty(0, dtype="int64")


@dataclass(frozen=True)
class Outcome:
    """What came of a rule.

    Attributes:
        rule: the rule.
        severity: the rule's own, but `error` where its column has the wrong type throughout.
        passed: None when it could not be checked, because its column is missing or unsound.
        measured: what was found, for a person.
        failing: number of rows that break it.
        examples: at most three values that break it.
        positions: int64, shape (failing,): rows of the frame that break it; empty for rules on a whole.
    """

    rule: Rule
    severity: Severity
    passed: bool | None
    measured: str
    failing: int
    examples: tuple[str, ...]
    positions: npt.NDArray[np.int64]

    @property
    def stops(self) -> bool:
        """Whether the pipeline may not go on."""
        return self.passed is False and self.severity == "error"

    @property
    def warns(self) -> bool:
        """Whether it is broken and only recorded."""
        return self.passed is False and self.severity == "warn"


def broken_rows(outcomes: Sequence[Outcome], severity: Severity | None = None) -> npt.NDArray[np.int64]:
    """Positions of the rows that break a rule, of one severity or of any; ascending, each once."""
    chosen = [outcome.positions for outcome in outcomes if severity in (None, outcome.severity)]
    return np.unique(np.concatenate([NO_POSITIONS, *chosen]))
