"""Ports of this machine that nobody uses, for servers that must be told one before they start."""

import random
import socket

HOST = "127.0.0.1"
# Below what Linux, macOS and Windows hand out to whoever asks for any port (a Jupyter kernel, each outgoing
# connection), so that none of them takes it before the server has started, or while it starts again.
LOWEST, HIGHEST = 20_000, 32_767
TRIES = 100

# Whoever seeds `random` must not get the same port in every process.
_random = random.SystemRandom()


def unused_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now, and that the system gives to nobody by itself.

    Raises:
        OSError: of many ports looked at, all are taken.
    """
    for port in _random.sample(range(LOWEST, HIGHEST + 1), TRIES):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"No port from {LOWEST} to {HIGHEST} seems to be unused.")
