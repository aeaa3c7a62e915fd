"""The caller of a replay, against servers that are late, busy, broken, or somebody else."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from monitoring.caller import MOST_LOST, Caller, Lost
from monitoring.journal import Waiting
from takeoff.errors import TakeoffError

BREAK_OFF = (0, {}, None)
LATE = (503, {"Retry-After": "0"}, {"error": {"code": "overdue", "message": "No answer in time."}})
BUSY = (
    429,
    {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
    {"error": {"code": "busy", "message": "Busy."}},
)
ANSWERED = (200, {}, {"predictions": [{"prediction_id": "p"}]})
LABELS = [Waiting(0.0, "p", "late")]

Reply = tuple[int, dict[str, str], Any]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.caller.FIRST_PAUSE_SECONDS", 0.0)


@contextmanager
def answering(*replies: Reply) -> Iterator[tuple[Caller, list[bytes]]]:
    """A caller of a server that gives these replies, the last one again and again, and what it was sent."""
    left, sent = list(replies), list[bytes]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            status, headers, content = left.pop(0) if len(left) > 1 else left[0]
            if not status:
                self.close_connection = True
                return
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  # the name that the server looks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    caller = Caller(f"http://someone:a-secret@127.0.0.1:{server.server_port}")
    try:
        yield caller, sent
    finally:
        caller.close()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("reply", [BREAK_OFF, LATE, (502, {}, b""), (504, {}, b"<html>")])
def test_rows_are_not_sent_again_blindly_where_the_service_may_have_logged_them(reply: Reply) -> None:
    with answering(reply, ANSWERED) as (caller, sent):
        with pytest.raises(Lost):
            caller.predict([b"{}"])

        assert len(sent) == 1


@pytest.mark.parametrize("reply", [BUSY, (503, {}, {"error": {"code": "log_unavailable"}}), (503, {}, b"?")])
def test_rows_are_sent_again_where_the_service_has_not_acted(reply: Reply) -> None:
    with answering(reply, reply, ANSWERED) as (caller, sent):
        assert caller.predict([b"{}"]).ids == ["p"]

        assert len(sent) == 3


def test_a_service_that_stays_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.caller.BUSY_SECONDS", 0.0)
    with answering(BUSY) as (caller, _), pytest.raises(TakeoffError, match="too busy"):
        caller.predict([b"{}"])


@pytest.mark.parametrize("reply", [BREAK_OFF, LATE])
def test_labels_are_sent_again_when_their_answer_is_lost_since_they_count_once(reply: Reply) -> None:
    with answering(reply, (200, {}, {})) as (caller, sent):
        caller.feedback(LABELS)

        assert len(sent) == 2
        assert sent[0] == sent[1]


def test_a_service_that_loses_every_answer_to_labels_is_given_up() -> None:
    with answering(BREAK_OFF) as (caller, sent):
        with pytest.raises(TakeoffError, match="again and again"):
            caller.feedback(LABELS)

        assert len(sent) == MOST_LOST


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((200, {}, b"<html>"), "is not this project's service"),
        ((404, {}, {"error": {}}), "is not this project's service"),
        ((200, {}, {"contract_hash": "other", "model_version": 1}), "another contract"),
        (BREAK_OFF, "again and again"),
    ],
)
def test_what_is_no_service_of_this_project_is_named_without_its_password(reply: Reply, said: str) -> None:
    with answering(reply) as (caller, _), pytest.raises(TakeoffError, match=said) as raised:
        caller.check("ours")

    assert "a-secret" not in str(raised.value)


def test_a_bad_row_costs_only_itself() -> None:
    refusal = (422, {}, {"error": {"message": "No.", "problems": [{"row": 1, "field": "x"}]}})
    answers = (200, {}, {"predictions": [{"prediction_id": "first"}, {"prediction_id": "third"}]})

    with answering(refusal, answers) as (caller, _):
        found = caller.predict([b"{}", b"[]", b"{}"])

    assert found.ids == ["first", None, "third"]
    assert found.refused == {"x": 1}
