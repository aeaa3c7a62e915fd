"""The webhook, against a real server: what it gets, and what is told when it does not take it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from monitoring.webhook import VARIABLE, address, post
from takeoff.errors import TakeoffError
from takeoff.ports import unused_port

DECISION = {"state": "retrain", "sentence": "Retrain: 30 % dearer than promised \u2014 act"}
SECRET = "s3cret-token"


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted, and answers with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.code, self.received = code, list[tuple[str | None, bytes]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers["Content-Type"], body))
        self.send_response(self.server.code)
        self.send_header("Location", self.server.url)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def receiver(code: int = 200) -> Iterator[Receiver]:
    with Receiver(code) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("code", [200, 202, 204])
def test_the_decision_is_posted_as_json(code: int) -> None:
    with receiver(code) as server:
        assert post(server.url, DECISION, 5) is None

    [(kind, body)] = server.received
    assert kind == "application/json"
    assert json.loads(body) == DECISION


@pytest.mark.parametrize("code", [302, 400, 404, 500, 503])
def test_a_refusal_is_told_by_its_code(code: int) -> None:
    with receiver(code) as server:
        assert post(server.url, DECISION, 5) == f"it answered {code}"


def test_a_receiver_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        problem = post(f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}", DECISION, 0.05)

    assert problem == "it did not answer within 0.05 seconds"


def test_nobody_there_is_told_without_the_address() -> None:
    port = unused_port()

    problem = post(f"http://127.0.0.1:{port}/{SECRET}", DECISION, 5)

    assert problem is not None and SECRET not in problem and str(port) not in problem


def test_what_is_no_http_is_told_without_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        problem = post(f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", DECISION, 5)
        thread.join()

    assert problem is not None and SECRET not in problem


@pytest.mark.parametrize("given", ["", "  "])
def test_without_an_address_nobody_is_told(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)

    assert address() is None


@pytest.mark.parametrize(
    "given",
    [f"ftp://host/{SECRET}", SECRET, f"http:///{SECRET}", f"http://host:port/{SECRET}", "http://[::1"],
)
def test_what_is_no_web_address_is_refused_without_repeating_it(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, given)

    with pytest.raises(TakeoffError, match=VARIABLE) as refused:
        address()

    assert SECRET not in str(refused.value)
