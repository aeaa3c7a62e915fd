"""Decisions and their records, and where a rollback may go: pure functions over the history."""

import getpass
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from takeoff.errors import TakeoffError


class Record(NamedTuple):
    """One decision: who, when, what, why, and the numbers.

    Attributes:
        action: release, refusal, rollback, or retrain, which stands after the release or refusal it led to.
        when: ISO 8601, UTC.
        who: user name, or what TAKEOFF_USER says.
        why: the reason, in words.
        champion: version that serves afterwards, None before the first release.
        before: version that served before.
        numbers: what the decision rested on.
    """

    action: str
    when: str
    who: str
    why: str
    champion: str | None
    before: str | None
    numbers: Mapping[str, Any]


class Move(NamedTuple):
    """Where a rollback goes: the version that will serve, and the one it could go to next."""

    champion: str
    previous: str | None


def record(
    action: str, why: str, champion: str | None, before: str | None, numbers: Mapping[str, Any]
) -> Record:
    """A record of now, by whoever runs this."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(action, when, _who(), why, champion, before, numbers)


def champions(history: Sequence[Record]) -> list[str]:
    """Versions that have been champion, in the order in which they became it; each change once."""
    found: list[str] = []
    for each in history:
        if each.action in ("release", "rollback") and each.champion and found[-1:] != [each.champion]:
            found.append(each.champion)
    return found


def taken_back(history: Sequence[Record]) -> dict[str, str]:
    """Versions that were rolled back and have not served since, with the reason."""
    found: dict[str, str] = {}
    for each in history:
        if each.action == "rollback" and each.before:
            found[each.before] = each.why
        if each.champion and each.action in ("release", "rollback"):
            found.pop(each.champion, None)
    return found


def plan_rollback(history: Sequence[Record], champion: str | None, wanted: str | None) -> Move:
    """Where to roll back to.

    Args:
        history: every finished decision, oldest first.
        champion: version that serves now.
        wanted: version asked for, or None for the one that served before the champion did.

    Raises:
        TakeoffError: nothing serves, the version never served, or there is none to go back to.
    """
    if champion is None:
        raise TakeoffError(
            "There is no champion yet, so there is nothing to roll back. Run `dvc repro` first."
        )
    served = champions(history)
    others = list(dict.fromkeys(number for number in reversed(served) if number != champion))
    target = wanted or _served_before(served, champion)
    if target is None:
        raise TakeoffError(
            f"No version served before version {champion}, so there is nothing to roll back to."
            + (f" Versions that served since: {', '.join(others)}; choose with --to." if others else "")
        )
    if target == champion:
        raise TakeoffError(f"Version {target} is the champion already. Nothing was changed.")
    if target not in others:
        allowed = f"Versions that have: {', '.join(others)}." if others else "No other version has."
        raise TakeoffError(
            f"Version {target} has never been champion, and a rollback goes only to one that has. {allowed}"
        )
    return Move(target, _served_before(served, target))


def _served_before(served: Sequence[str], version: str) -> str | None:
    """The version that served right before `version` did for the first time."""
    if version not in served:
        return None
    place = served.index(version)
    return served[place - 1] if place else None


def _who() -> str:
    try:
        return os.environ.get("TAKEOFF_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
