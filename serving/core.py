"""The one function that turns rows into answers, whichever way they came in."""

import os
import time
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from serving.requests import Asked, Feed, Row
from takeoff import value
from takeoff.contract import Contract
from takeoff.log_store import Entry, ShadowEntry
from takeoff.model import Model, run

NEVER_MISSING = "was never missing in training"
UNREGISTERED = "unregistered"  # model version outside a Bento


class Answered(NamedTuple):
    """What rows got, in their order.

    Attributes:
        answers: for the caller.
        entries: the same for the log.
        feed: what the model was fed, see `serving.requests.Asked`.
        events: probability of the event, float32, shape (n,).
    """

    answers: list[dict[str, Any]]
    entries: list[Entry]
    feed: dict[str, npt.NDArray[Any]]
    events: npt.NDArray[np.float32]


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
        answers = [
            {
                "prediction_id": id_,
                "probability": p[-1],
                "probabilities": dict(zip(self.classes, p, strict=True)),
                "decision": decision,
                "review": asks,
                "model_version": self.version,
                "warnings": warned,
            }
            for id_, p, decision, asks, warned in zip(
                ids, said, decided, review, self._warnings(asked), strict=True
            )
        ]
        entries = map(
            Entry,
            ids,
            repeat(now, count),
            repeat(self.version),
            repeat(self._contract_hash),
            asked.texts,
            [p[-1] for p in said],
            _arrays(said),
            decided,
            review,
            [(ready - arrived) * 1e3 for arrived in started],
            asked.ids,
            asked.times,
        )
        return Answered(answers, list(entries), asked.feed, probabilities[:, -1])

    def probabilities(self, rows: Sequence[Row]) -> list[list[float]]:
        """Probability of each class for each row, without an answer."""
        return run(self.model.session, self.ask(rows).feed).tolist()  # type: ignore[no-any-return]

    def shadow(self, feed: Mapping[str, npt.NDArray[Any]], ids: Sequence[str]) -> list[ShadowEntry]:
        """What this model says of rows that another has answered; `feed` as in `Asked`."""
        started = time.perf_counter()
        probabilities = run(self.model.session, feed)
        decisions = value.decide(probabilities, self.threshold).tolist()
        latency = (time.perf_counter() - started) * 1e3
        return [
            ShadowEntry(
                prediction_id=id_,
                model_version=self.version,
                probability=p[-1],
                probabilities=to_json(p).decode(),
                decision=self.classes[decision],
                latency_ms=latency,
                error=None,
            )
            for id_, p, decision in zip(ids, probabilities.tolist(), decisions, strict=True)
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

    def _warnings(self, asked: Asked) -> list[list[dict[str, str]]]:
        """Per row, what the contract allows but training never saw."""
        warnings: list[list[dict[str, str]]] = [[] for _ in asked.texts]
        for name, known in self._known.items():
            values = asked.feed[name].ravel().tolist()
            if known.issuperset(values):  # nearly always, and quick to tell
                continue
            for warned, given in zip(warnings, values, strict=True):
                if given not in known:
                    what = f"'{given}' did not occur in training" if given else NEVER_MISSING
                    warned.append({"field": name, "warning": what})
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


def _arrays(rows: Sequence[Sequence[float]]) -> list[str]:
    """Each row's numbers as a JSON array."""
    # All at once: numbers hold no bracket, so the arrays come apart again.
    return [f"[{each}]" for each in to_json(rows)[2:-2].decode().split("],[")]


def new_ids(count: int, now: float) -> list[str]:
    """UUIDs of version 7 (RFC 9562): they sort by time, so that a database appends them.

    Args:
        count: how many; those of one call follow each other.
        now: unix seconds.
    """
    random = int.from_bytes(os.urandom(10))
    time_part = f"{int(now * 1e3):012x}"
    prefix = f"{time_part[:8]}-{time_part[8:]}-7{random >> 68:03x}"
    start = random & 0x3FFFFFFFFFFFFFFF
    ids = []
    for i in range(count):
        rest = f"{0x8000000000000000 | (start + i) & 0x3FFFFFFFFFFFFFFF:016x}"
        ids.append(f"{prefix}-{rest[:4]}-{rest[4:]}")
    return ids


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
