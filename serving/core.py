"""The one function that turns rows into answers, whichever way they came in."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from serving.requests import Asked, Feed, Row, as_json
from takeoff import value
from takeoff.contract import Contract
from takeoff.log_store import Entry, ShadowEntry
from takeoff.model import Model, run

NEVER_MISSING = "was never missing in training"
UNREGISTERED = "unregistered"  # model version outside a Bento
_ENTRY = partial(tuple.__new__, Entry)  # makes one of all its values, in less than half the time


class Answer(msgspec.Struct, gc=False):
    """What the caller gets for a row, under the names of the JSON; no other type is written as quickly."""

    prediction_id: str
    probability: float
    probabilities: Any  # by class
    decision: str
    review: bool
    model_version: str
    warnings: Sequence[dict[str, str]]


class Answered(NamedTuple):
    """What rows got, in their order.

    Attributes:
        answers: for the caller.
        entries: the same for the log.
        feed: what the model was fed, see `serving.requests.Asked`.
        events: probability of the event, float32, shape (n,).
        decisions, reviews, warned: how many there are of each decision, of reviews, and of warnings by field.
    """

    answers: list[Answer]
    entries: list[Entry]
    feed: dict[str, npt.NDArray[Any]]
    events: npt.NDArray[np.float32]
    decisions: Counter[str]
    reviews: int
    warned: Counter[str]


class Core:
    """A model, and all that is worked out once so that a request needs not.

    Args:
        model: the shipped one.
        version: its version in the registry.
        contract: the one it was made under.
    """

    def __init__(self, model: Model, version: str, contract: Contract) -> None:
        self.model, self.version, self.contract = model, version, contract
        self.threshold = float(model.card["decision"]["threshold"])
        self.classes = list(contract.target.classes)
        self.matrix = value.cost_matrix(contract)
        self._contract_hash = contract.hash
        self._by_class = _by_class(self.classes)
        self._feed = Feed(contract)
        seen = model.card["seen"]
        self._known = {name: frozenset(seen[name]) for name in contract.categories}
        # A number of which training saw no value has no range: then every value is outside.
        ranges = [seen.get(name, (np.inf, -np.inf)) for name in contract.numbers]
        self._gaps = np.array([name in model.card["gaps"] for name in contract.numbers], dtype=bool)
        self._low = np.array([low for low, _ in ranges], dtype=np.float32)
        self._high = np.array([high for _, high in ranges], dtype=np.float32)
        # In as many digits as a float32 has.
        self._ranges = [
            (name, f"{low:.7g} to {high:.7g}" if low <= high else "nothing")
            for name, low, high in zip(contract.numbers, self._low.tolist(), self._high.tolist(), strict=True)
        ]

    def answer(self, rows: Sequence[Row], started: Sequence[float]) -> Answered:
        """Predict, decide and say what was unusual.

        Args:
            rows: valid ones, see `serving.requests.row_type`.
            started: for each row the `time.perf_counter()` at which its request arrived; the latency in the
                log is what had passed when its answer was ready to be logged.
        """
        asked = self.ask(rows)
        return self.say(asked, self.predict(asked), started)

    def ask(self, rows: Sequence[Row]) -> Asked:
        """The first third of `answer`: rows as the model reads them."""
        return self._feed.ask(rows)

    def predict(self, asked: Asked) -> npt.NDArray[np.float32]:
        """The second third: probability of each class, shape (n, classes). Needs no Python while it runs."""
        return run(self.model.session, asked.feed)

    def say(self, asked: Asked, probabilities: npt.NDArray[np.float32], started: Sequence[float]) -> Answered:
        """The last third: what was predicted, in words; see `answer`."""
        count = len(asked.texts)
        decisions = value.decide(probabilities, self.threshold)
        reviews = value.needs_review(probabilities, decisions, self.matrix, self.contract.costs.review)
        now, ready = time.time(), time.perf_counter()
        ids, said = new_ids(count, now), probabilities.tolist()
        decided, review = [self.classes[each] for each in decisions.tolist()], reviews.tolist()
        events, by_class, warnings = [p[-1] for p in said], self._by_class, self._warnings(asked)
        answers = [
            Answer(id_, event, by_class(*p), decision, asks, self.version, warnings.get(place, ()))
            for place, (id_, event, p, decision, asks) in enumerate(
                zip(ids, events, said, decided, review, strict=True)
            )
        ]
        entries = zip(
            ids,
            repeat(now, count),
            repeat(self.version, count),
            repeat(self._contract_hash, count),
            asked.texts,
            events,
            as_json(said),
            decided,
            review,
            [(ready - arrived) * 1e3 for arrived in started],
            asked.ids,
            asked.times,
            strict=True,
        )
        return Answered(
            answers=answers,
            entries=list(map(_ENTRY, entries)),
            feed=asked.feed,
            events=probabilities[:, -1],
            decisions=Counter(decided),
            reviews=sum(review),
            warned=Counter(warning["field"] for warned in warnings.values() for warning in warned),
        )

    def probabilities(self, rows: Sequence[Row]) -> list[list[float]]:
        """Probability of each class for each row, without an answer."""
        return run(self.model.session, self.ask(rows).feed).tolist()  # type: ignore[no-any-return]

    def shadow(self, feed: Mapping[str, npt.NDArray[Any]], ids: Sequence[str]) -> list[ShadowEntry]:
        """What this model says of rows that another has answered; `feed` as in `Asked`."""
        started = time.perf_counter()
        probabilities = run(self.model.session, feed)
        decisions, said = value.decide(probabilities, self.threshold).tolist(), probabilities.tolist()
        latency = (time.perf_counter() - started) * 1e3
        return [
            ShadowEntry(
                prediction_id=id_,
                model_version=self.version,
                probability=p[-1],
                probabilities=text,
                decision=self.classes[decision],
                latency_ms=latency,
                error=None,
            )
            for id_, p, text, decision in zip(ids, said, as_json(said), decisions, strict=True)
        ]

    def failed(self, id_: str, error: str) -> ShadowEntry:
        """The entry of a row that this model could not answer."""
        return ShadowEntry(
            prediction_id=id_,
            model_version=self.version,
            probability=None,
            probabilities=None,
            decision=None,
            latency_ms=None,
            error=error,
        )

    def _warnings(self, asked: Asked) -> dict[int, list[dict[str, str]]]:
        """What the contract allows but training never saw, by the place of its row."""
        warnings: defaultdict[int, list[dict[str, str]]] = defaultdict(list)
        for name, known in self._known.items():
            values = asked.feed[name].ravel().tolist()
            if known.issuperset(values):  # nearly always, and quick to tell
                continue
            for place, given in enumerate(values):
                if given not in known:
                    what = f"'{given}' did not occur in training" if given else NEVER_MISSING
                    warnings[place].append({"field": name, "warning": what})
        absent = np.isnan(asked.numbers) & ~self._gaps
        if absent.any():
            for i, place in np.argwhere(absent).tolist():
                name, _ = self._ranges[place]
                warnings[i].append({"field": name, "warning": NEVER_MISSING})
        outside = (asked.numbers < self._low) | (asked.numbers > self._high)
        if outside.any():
            rows, places = np.nonzero(outside)
            given = asked.numbers[rows, places]
            for i, place, number in zip(rows.tolist(), places.tolist(), given.tolist(), strict=True):
                name, seen = self._ranges[place]
                warnings[i].append(
                    {"field": name, "warning": f"{number:.7g} is outside of what training saw: {seen}"}
                )
        return warnings


def _by_class(classes: Sequence[str]) -> Callable[..., Any]:
    """Makes of a row's probabilities, one argument each, what is written as an object of them by class."""
    # Numbered, since a class may have a name that Python could not give.
    own = [f"class_{place}" for place in range(len(classes))]
    names = dict(zip(own, classes, strict=True))
    try:
        return msgspec.defstruct("ByClass", [(each, float) for each in own], rename=names, gc=False)
    except ValueError:  # a name with a quotation mark or the like
        return lambda *probabilities: dict(zip(classes, probabilities, strict=True))


def new_ids(count: int, now: float) -> list[str]:
    """UUIDs of version 7 (RFC 9562): they sort by time, so that a database appends them.

    Args:
        count: how many; those of one call follow each other.
        now: unix seconds.
    """
    digits, random = f"{int(now * 1e3):012x}", os.urandom(10)
    a, b = int.from_bytes(random[:2]) % 2**12, int.from_bytes(random[2:4]) % 2**14
    start = min(int.from_bytes(random[4:]), 2**48 - count)
    head = f"{digits[:8]}-{digits[8:]}-7{a:03x}-{2**15 + b:04x}-"
    # All at once as 16 digits each, of which the first 4 are 0.
    lasts = np.arange(start, start + count, dtype=">u8").tobytes().hex()
    return [head + lasts[place : place + 12] for place in range(4, 16 * count, 16)]


def describe(core: Core, card: Mapping[str, Any], bento: str | None) -> dict[str, Any]:
    """What `GET /model` says."""
    band = value.review_band(core.threshold, core.matrix, core.contract.costs.review)
    return {
        "name": core.contract.name,
        "question": core.contract.question,
        "model_version": core.version,
        "bento": bento,
        "candidate": card["candidate"],
        "onnx_sha256": card["onnx_sha256"],
        "contract_hash": core.contract.hash,
        "classes": core.classes,
        "event": core.classes[-1],
        "threshold": core.threshold,
        "review_band": {"from": band[0], "to": band[1]} if band else None,
        "costs": core.contract.costs.model_dump(mode="json"),
        "training": {name: card["training"][name] for name in ("start", "end", "rows")},
        "test": card.get("test"),
        "metrics": card.get("metrics"),
    }
