"""Everything that is measured of a window, gathered chunk by chunk in bounded memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring import drift, multivariate
from monitoring.estimate import Estimated, last_known_error
from monitoring.performance import Labels, Performance
from monitoring.profiles import WindowProfile
from monitoring.quality import Known, Quality
from monitoring.shadow import Shadow
from monitoring.standard import Standard
from monitoring.windows import Window
from takeoff.contract import Contract
from takeoff.log_read import Chunk


class Sample:
    """At most `size` rows, each row of a window as likely as any other (a reservoir with random keys).

    Kept are the rows with the smallest of random numbers (Efraimidis and Spirakis 2006), so that the sample
    does not depend on how rows came in chunks.
    """

    def __init__(self, size: int, seed: int, contract: Contract) -> None:
        self._size, self._contract = size, contract
        self._random = np.random.default_rng(seed)
        self._parts: list[tuple[npt.NDArray[np.float64], pd.DataFrame]] = []
        self._waiting, self._bound = 0, 1.0

    def add(self, chunk: Chunk) -> None:
        """Offer rows."""
        keys = self._random.random(len(chunk.rows))
        kept = np.flatnonzero(keys < self._bound)
        if len(kept) == 0:
            return
        self._parts.append((keys[kept], self._described(chunk, kept)))
        self._waiting += len(kept)
        if self._waiting > 2 * self._size:
            self._shrink()

    def rows(self) -> pd.DataFrame:
        """The sample, in the order in which its rows came: the contract's columns, the target, and
        `probability_<class>`."""
        if not self._parts:
            return pd.DataFrame()
        self._shrink()
        return self._parts[0][1]

    def _described(self, chunk: Chunk, kept: npt.NDArray[np.int64]) -> pd.DataFrame:
        classes = self._contract.target.classes
        rows = chunk.rows.iloc[kept]
        # Chunks have categories of their own: as objects they join.
        plain = {name: rows[name].astype(object) for name in self._contract.categories}
        said = {f"probability_{name}": chunk.probabilities[kept, i] for i, name in enumerate(classes)}
        label = chunk.answers["label"].iloc[kept].astype(object).to_numpy()
        return rows.assign(**plain, **{self._contract.target.column: label}, **said)

    def _shrink(self) -> None:
        keys = np.concatenate([part for part, _ in self._parts])
        frame = pd.concat([part for _, part in self._parts], ignore_index=True)
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, frame = keys[chosen], frame.iloc[chosen].reset_index(drop=True)
            self._bound = float(keys.max())
        self._parts, self._waiting = [(keys, frame)], len(keys)


class Gathering:
    """What is known of one window so far.

    Args:
        window: whose rows these are.
        standard: what they are measured against.
        now: the newest instant that the log has reached; see `monitoring.performance.Labels`.
        known: what other windows of this run have found out about values; see `monitoring.quality.Known`.
    """

    def __init__(self, window: Window, standard: Standard, now: pd.Timestamp | None, known: Known) -> None:
        contract, params = standard.contract, standard.params
        self.window, self._standard = window, standard
        promised = standard.card.get("metrics")
        self._labels = Labels(contract, now)
        self._performance = Performance(contract, params.evaluation, params.seed, promised, standard.rule)
        self._estimated = Estimated(contract, params.evaluation, params.seed)
        self._quality = Quality(contract, window.period, params.monitoring.quality.share_rows, known)
        self._shadow = Shadow(contract, params.evaluation, params.seed, standard.thresholds)
        self._profile = WindowProfile(standard.reference) if standard.reference else None
        self.sample = Sample(params.monitoring.evidently_rows, params.seed, contract)
        self.rows = 0
        self._versions: Counter[str] = Counter()
        self._contracts: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        """Take in rows of this window."""
        self.rows += len(chunk.rows)
        for counts, name in ((self._versions, "model_version"), (self._contracts, "contract")):
            found = chunk.answers[name].value_counts()
            counts.update({str(key): int(found[key]) for key in found.index if found[key]})
        for part in (self._labels, self._performance, self._estimated, self._quality, self._shadow):
            part.add(chunk)
        if self._profile:
            self._profile.add(chunk.rows, chunk.probabilities)
        self.sample.add(chunk)

    def result(
        self,
        refused: Mapping[str, int] | None,
        earlier: Sequence[Mapping[str, Any]],
        notes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The JSON of the window, but for what only the whole run knows.

        Args:
            refused: what the service refused, by reason; see `takeoff.log_schema.Refused`.
            earlier: JSON of earlier windows, the oldest first.
            notes: what else has to be said of it.
        """
        standard, labels = self._standard, self._labels.result()
        if not self.rows:
            parts: dict[str, Any] = dict.fromkeys(
                ("drift", "multivariate", "labels", "performance", "estimated", "shadow")
            )
            return (
                self._head(["The log holds no row of this window.", *notes])
                | parts
                | {"quality": self._quality.result(refused, labels)}
            )
        described = {
            "drift": self._drift(),
            "multivariate": self._multivariate(),
            "labels": labels,
            "performance": self._performance.result(),
            "estimated": self._estimate(earlier),
            "quality": self._quality.result(refused, labels),
            "shadow": self._shadow.result(),
        }
        measured = (self._labels, self._performance, self._estimated, self._quality, self._shadow)
        said = [note for part in measured for note in part.notes]
        if described["multivariate"] is None and standard.reference:
            said.append("Too few rows for a classifier to tell the window from the reference.")
        return self._head([*standard.notes, *notes, *self._about_contracts(), *said]) | described

    def _head(self, notes: list[str]) -> dict[str, Any]:
        period = self.window.period
        return {
            "window": {
                "name": self.window.name,
                "kind": self.window.kind,
                "start": period.start.isoformat(),
                "end": period.end.isoformat(),
            },
            "rows": self.rows,
            "model_versions": dict(sorted(self._versions.items())),
            "contracts": dict(sorted(self._contracts.items())),
            "reference": self._standard.describe(),
            "notes": notes,
        }

    def _estimate(self, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        found, enough = self._estimated.result(), self._standard.params.monitoring.labels
        return found and {**found, "last_known_error": last_known_error(earlier, enough)}

    def _drift(self) -> dict[str, Any] | None:
        standard = self._standard
        if self._profile is None or standard.reference is None:
            return None
        settings, seed = standard.params.monitoring.drift, standard.params.seed
        found = drift.measure(self._profile, standard.reference, settings, seed)
        if found and not standard.owns_reference:
            found["predictions"] = []
        return found

    def _multivariate(self) -> dict[str, Any] | None:
        standard = self._standard
        if standard.reference is None:
            return None
        settings, seed = standard.params.monitoring.multivariate, standard.params.seed
        return multivariate.measure(self.sample.rows(), standard.reference, settings, seed)

    def _about_contracts(self) -> list[str]:
        others = self.rows - self._contracts[self._standard.contract.hash]
        if not others:
            return []
        return [
            f"{others:,} of {self.rows:,} rows were answered by another contract.yaml than this one: they "
            "are read by the columns that both have."
        ]
