"""What a replay has done so far, kept line by line, so that one that was stopped goes on where it was.

A line is added before rows are sent, and one after they are answered. A replay that ends in between knows
which rows are in doubt; which of them were answered is looked up in the prediction log. Lines survive the
end of the process, however it comes; a power cut may take the last ones, and their rows are sent again.
"""

import fcntl
import heapq
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
    """What was begun and not ended.

    Attributes:
        begun: when that was first, unix seconds of the real clock.
        until: simulated end of what may have been sent, unix seconds.
    """

    begun: float
    until: float


class Journal:
    """The journal of one replay, open for more; use it as a context.

    Raises:
        TakeoffError: another replay has it open, it can't be written, or the file is something else.

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = path.with_suffix(".lock").open("w")
            self._open(path, dict(settings), restart)
        except OSError as error:
            raise TakeoffError(
                f"The journal of the replay, {path.as_posix()}, can't be written: {error.strerror}. "
                f"Name another file with --journal."
            ) from None

    def _open(self, path: Path, settings: dict[str, Any], restart: bool) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakeoffError(
                f"Another replay is running with the journal {path.as_posix()}. Wait for it or stop it; to "
                f"play two at once, give each a --journal of its own."
            ) from None
        lines = _read(path)
        known = lines[0]["replay"] if lines else None
        for line in [] if restart else lines:
            self._apply(line)
        if known == settings and not restart:
            self._file = path.open("a", encoding="utf-8")
            if not path.read_bytes().endswith(b"\n"):
                self._file.write("\n")  # after a line that was cut off
            return
        # Another replay: what still waits for its truth gets it now.
        self.position, self.doubt, self.done = None, None, False
        self.counts.clear()
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"replay": settings, "waiting": self.waiting}) + "\n", encoding="utf-8")
        part.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # on a full disk, which `_add` has told of
            self._file.close()
        self._lock.close()

    def begin(self, tick: float, until: float) -> None:
        """Rows of the tick from `tick` to `until` are sent now."""
        self._add({"begin": tick, "until": until, "at": time.time()})

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
            self.doubt = self._doubted(line)
        elif "end" in line:
            for _ in range(line["labelled"]):
                heapq.heappop(self.waiting)
            for each in line["waiting"]:
                heapq.heappush(self.waiting, Waiting(*each))
            self.counts.update(line["counts"])
            self.position = line["next"]
            # A longer tick may have been begun before this one: the rest of it stays in doubt.
            if self.doubt is not None and self.doubt.until <= line["next"]:
                self.doubt = None
        elif "done" in line:
            self.done = True

    def _doubted(self, begun: Mapping[str, Any]) -> Doubt:
        """A tick may be begun more than once, at another speed in other lengths: all is in doubt."""
        if self.doubt is None or self.doubt.until <= begun["begin"]:
            return Doubt(begun["at"], begun["until"])
        return Doubt(min(self.doubt.begun, begun["at"]), max(self.doubt.until, begun["until"]))


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; one that was cut off is no line.

    Raises:
        TakeoffError: the file is no journal.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        text = "?"
    if text and not text.startswith('{"replay": '):
        raise TakeoffError(f"{path.as_posix()} is no journal of a replay. Name another file with --journal.")
    lines = []
    for line in text.split("\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        lines.append(content)
    return lines
