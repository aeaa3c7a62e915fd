"""Where MLflow's server is, and whether it answers, before anything waits for it."""

import socket
import ssl
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import urlopen

from takeoff.errors import TakeoffError

CONNECT_SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check_answers(uri: str) -> None:
    """Ask the server at `uri` for a sign of life; an address without a server passes.

    Raises:
        TakeoffError: it is no address, or nothing answers there within `CONNECT_SECONDS`.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("", "file", "sqlite", "databricks"):
        return
    try:
        port = parts.port or PORTS.get(parts.scheme.split("+")[0])
    except ValueError:  # no number, or too large for a port
        port = None
    if parts.hostname is None or port is None:
        raise TakeoffError(f"MLFLOW_TRACKING_URI={without_password(uri)} is not an address MLflow knows.")
    try:
        if parts.scheme in ("http", "https"):
            _ask(parts)
        else:
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or str(cause)
        raise TakeoffError(
            f"The MLflow server at {without_password(uri)} does not answer ({reason}). Start it, or correct "
            f"or unset MLFLOW_TRACKING_URI."
        ) from None


def _ask(parts: SplitResult) -> None:
    """Raise an OSError or HTTPException unless a web server answers: one that hangs has an open port too.

    Any answer will do: an error page, or a certificate that MLflow may have been told to take.
    """
    host = parts.netloc.rpartition("@")[2]
    try:
        urlopen(f"{parts.scheme}://{host}{parts.path.rstrip('/')}/health", timeout=CONNECT_SECONDS).close()
    except HTTPError:
        pass
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise


def without_password(uri: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@")
