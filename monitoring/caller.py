"""A caller of the running service: batches of rows, and their truth. Patient with a service that is busy."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from monitoring.journal import Waiting
from takeoff.address import without_password
from takeoff.errors import TakeoffError

ROWS_A_REQUEST = 1_000
LABELS_A_REQUEST = 5_000
ANSWER_SECONDS = 60.0
GONE_SECONDS = 30.0  # how long a service may be away, as in a restart
BUSY_SECONDS = 300.0  # how long it may refuse for being busy
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 60.0  # that a service may ask for
MOST_LOST = 5  # answers in a row of one request, before it is no accident


class Lost(ConnectionError):  # noqa: N818  # what has become of the request, rather than a mistake
    """There was no answer, or none in time: whether the service has acted is unknown."""


class Answers(NamedTuple):
    """What rows got.

    Attributes:
        ids: the prediction's id for each row, None for one that was refused; in the order of the rows.
        refused: rows by the first field that they were refused for.
    """

    ids: list[str | None]
    refused: Counter[str]


class Caller:
    """Asks one service, over connections that stay open; may be used by two threads at once.

    Args:
        url: of the service.
        key: an API key, where it wants one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        url = url.rstrip("/")
        self._shown = without_password(url)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        try:
            self._client = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS)
        except (httpx.InvalidURL, ValueError):
            raise TakeoffError(
                f"'{self._shown}' is no address of a service. Write it as http://127.0.0.1:3000."
            ) from None

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def check(self, contract_hash: str) -> str:
        """The version of the model that answers.

        Raises:
            TakeoffError: no service answers, it is something else, or it is one for another contract.
        """
        try:
            content = self._ask("GET", "/model", None).json()
            known, version = content["contract_hash"], str(content["model_version"])
        except Lost:
            raise self.breaks_off() from None
        except (ValueError, KeyError, TypeError):
            raise TakeoffError(
                f"What answers at {self._shown} is not this project's service. Name the service with URL=..."
            ) from None
        if known != contract_hash:
            raise TakeoffError(
                f"The service at {self._shown} was made under another contract than contract.yaml. Serve the "
                f"champion of this project (`make serve`), or replay from the project that it came from."
            )
        return version

    def predict(self, rows: Sequence[bytes]) -> Answers:
        """Ask for rows; those that the service refuses are left out, the others asked again.

        Args:
            rows: each as JSON, at most `ROWS_A_REQUEST`.

        Raises:
            Lost: there was no answer.
            TakeoffError: the service is gone, refuses the key, or refuses the batch as a whole.
        """
        ids: list[str | None] = [None] * len(rows)
        refused: Counter[str] = Counter()
        left = list(range(len(rows)))
        while left:
            response = self._ask("POST", "/predict_batch", _list_of("rows", [rows[i] for i in left]))
            if response.status_code == 200:
                for i, answer in zip(left, response.json()["predictions"], strict=True):
                    ids[i] = answer["prediction_id"]
                break
            reasons = _reasons(response)
            refused.update(reasons.values())
            left = [i for place, i in enumerate(left) if place not in reasons]
        return Answers(ids, refused)

    def feedback(self, labels: Sequence[Waiting]) -> None:
        """Tell the truth of earlier predictions; telling it again does no harm.

        Raises:
            TakeoffError: the service is gone or does not take it.
        """
        for start in range(0, len(labels), LABELS_A_REQUEST):
            content = [
                b'{"prediction_id":"%s","label":%s,"known_at":"%s"}'
                % (each.prediction_id.encode(), _text(each.label), _iso(each.known_at))
                for each in labels[start : start + LABELS_A_REQUEST]
            ]
            response = self._tell(_list_of("labels", content))
            if response.status_code != 200:
                raise _unexpected(response)

    def breaks_off(self) -> TakeoffError:
        """What to say of a service of which answers are lost again and again."""
        return TakeoffError(
            f"The service at {self._shown} breaks off or answers too late, again and again. Its own "
            f"output says why; then start the replay again: it goes on from here."
        )

    def _tell(self, body: bytes) -> httpx.Response:
        """The answer to labels; they are sent again where it is lost, since the same labels count once."""
        for _ in range(MOST_LOST):
            with suppress(Lost):
                return self._ask("POST", "/feedback", body)
        raise self.breaks_off()

    def _ask(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        """The answer, after waiting for a service that is away or busy."""
        start, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                response = self._client.request(method, path, content=body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if time.monotonic() - start > GONE_SECONDS:
                    raise self._gone() from None
            except httpx.TransportError as error:
                raise Lost(str(error)) from None
            else:
                if response.status_code == 401:
                    raise TakeoffError(
                        f"The service at {self._shown} wants an API key: put one of its into TAKEOFF_API_KEY."
                    )
                if response.status_code not in (429, 502, 503, 504):
                    return response
                pause = max(pause, _asked_to_wait(response))
                if _may_have_acted(response):
                    time.sleep(pause)  # it may be at it still
                    raise Lost("no answer in time")
                if time.monotonic() - start > BUSY_SECONDS:
                    raise TakeoffError(
                        f"The service at {self._shown} has been too busy for {BUSY_SECONDS:g} s. Give it "
                        f"more workers or play slower, then start the replay again: it goes on from here."
                    )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _gone(self) -> TakeoffError:
        return TakeoffError(
            f"No service answers at {self._shown}. Start it with `make serve` in another terminal, or name "
            f"another one with URL=..., then start the replay again: it goes on from here."
        )


def _list_of(name: str, items: Sequence[bytes]) -> bytes:
    return b'{"%s":[%s]}' % (name.encode(), b",".join(items))


def _text(value: str) -> bytes:
    return json.dumps(value).encode()


def _iso(seconds: float) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).isoformat().encode()


def _may_have_acted(response: httpx.Response) -> bool:
    """Whether rows may be in the log without an answer: the service, or what is before it, ran late."""
    if response.status_code in (502, 504):
        return True
    try:
        return response.status_code == 503 and response.json()["error"]["code"] == "overdue"
    except (ValueError, KeyError, TypeError):
        return False


def _asked_to_wait(response: httpx.Response) -> float:
    """Seconds of Retry-After; 0 where it says none, or names a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isdecimal() else 0.0


def _reasons(response: httpx.Response) -> dict[int, str]:
    """Rows that a refusal names, by their place in the batch, with the first field that is wrong.

    Raises:
        TakeoffError: it names none.
    """
    if response.status_code != 422:
        raise _unexpected(response)
    problems: list[Mapping[str, Any]] = response.json()["error"]["problems"]
    named = {each["row"]: each["field"] for each in reversed(problems) if "row" in each}
    if not named:
        raise _unexpected(response)
    return named


def _unexpected(response: httpx.Response) -> TakeoffError:
    try:
        said = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = "it did not say why"
    return TakeoffError(f"The service refused with status {response.status_code}: {said}")
