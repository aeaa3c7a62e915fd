"""A port for a server is one that nobody has, and that the system gives to nobody else meanwhile."""

import socket

import pytest

from takeoff import ports
from takeoff.ports import HOST, unused_port


def test_a_port_is_not_among_those_that_the_system_hands_out_by_itself() -> None:
    with socket.create_server((HOST, 0)) as handed_out:
        assert not ports.LOWEST <= handed_out.getsockname()[1] <= ports.HIGHEST


def test_a_server_can_listen_on_it() -> None:
    with socket.create_server((HOST, unused_port())) as server:
        assert ports.LOWEST <= server.getsockname()[1] <= ports.HIGHEST


def test_a_port_that_is_taken_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = unused_port()
    monkeypatch.setattr(ports, "LOWEST", taken)
    monkeypatch.setattr(ports, "HIGHEST", taken + ports.TRIES - 1)
    with socket.create_server((HOST, taken)):
        assert all(unused_port() != taken for _ in range(20))
        monkeypatch.setattr(ports, "TRIES", 1)
        monkeypatch.setattr(ports, "HIGHEST", taken)
        with pytest.raises(OSError, match=f"No port from {taken}"):
            unused_port()
