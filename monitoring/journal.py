"""What a replay has done so far, kept line by line, so that one that was stopped goes on where it was.

A line is added before rows are sent, and one after they are answered. A replay that ends in between knows
which rows are in doubt; which of them were answered is looked up in the prediction log.
"""

import heapq
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from takeoff.errors import TakeoffError


class Waiting(NamedTuple):
    """A prediction whose truth comes later; sorts by when it is known (unix seconds, simulated)."""

    known_at: float
    prediction_id: str
    label: str


class Doubt(NamedTuple):
    """A tick that was begun and not ended: its simulated start, and when it was begun, unix seconds."""

    tick: float
    begun: float


class Journal:
    """The journal of one replay, open for more; use it as a context.

    Attributes:
        position: simulated start of the next tick, unix seconds; None before the first.
        waiting: a heap of predictions without truth, the next to be known first.
        counts: `answered`, `labelled`, and `refused: FIELD`.
        doubt: what the last replay may have sent.
        done: whether all was sent.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], restart: bool = False) -> None:
        self.position: float | None = None
        self.waiting: list[Waiting] = []
        self.counts: Counter[str] = Counter()
        self.doubt: Doubt | None = None
        self.done = False
        lines = [] if restart else _read(path)
        known = next((line for line in lines if "replay" in line), None)
        for line in lines:
            self._apply(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        if known is not None and known["replay"] == dict(settings):
            self._file = path.open("a", encoding="utf-8")
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                self._file.write("\n")  # after a line that was cut off
            return
        # Another replay: what still waits for its truth gets it now.
        self.position, self.doubt, self.done = None, None, False
        self.counts.clear()
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"replay": dict(settings), "waiting": self.waiting}) + "\n")
        part.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, tick: float) -> None:
        """Rows of this tick are sent now."""
        self._add({"begin": tick, "at": time.time()})

    def end(
        self, tick: float, following: float, answered: Iterable[Waiting], labelled: int, counts: Counter[str]
    ) -> None:
        """This tick is over.

        Args:
            tick: its start.
            following: start of the next one.
            answered: predictions of this tick whose truth will be known.
            labelled: labels that were sent, the first of `waiting`.
            counts: to add to `counts`.
        """
        self._add(
            {
                "end": tick,
                "next": following,
                "labelled": labelled,
                "waiting": list(answered),
                "counts": dict(counts),
            }
        )

    def finish(self) -> None:
        """All was sent."""
        self._add({"done": True})

    def _add(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise TakeoffError(
                f"The replay can't write down what it does ({error.strerror}), so it stops. "
                f"Make room and start it again: it goes on from here."
            ) from None
        self._apply(line)

    def _apply(self, line: Mapping[str, Any]) -> None:
        if "replay" in line:
            self.waiting = [Waiting(*each) for each in line["waiting"]]
            heapq.heapify(self.waiting)
        elif "begin" in line:
            self.doubt = Doubt(line["begin"], line["at"])
        elif "end" in line:
            for _ in range(line["labelled"]):
                heapq.heappop(self.waiting)
            for each in line["waiting"]:
                heapq.heappush(self.waiting, Waiting(*each))
            self.counts.update(line["counts"])
            self.position, self.doubt = line["next"], None
        elif "done" in line:
            self.done = True


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; one that was cut off is no line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split("\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        lines.append(content)
    return lines
