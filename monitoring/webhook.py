"""Tell another system of a change of state: the decision as JSON, to the address in TAKEOFF_WEBHOOK_URL."""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from takeoff.errors import TakeoffError

VARIABLE = "TAKEOFF_WEBHOOK_URL"


def address() -> str | None:
    """Where to post to, or None where nobody wants to be told.

    Raises:
        TakeoffError: it is no web address. It may hold a secret, so no message repeats it.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    try:
        parts = urlsplit(given)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or a broken IPv6 address
        is_web = False
    if not is_web:
        raise TakeoffError(f"{VARIABLE} is no web address: https://... was expected. Correct or unset it.")
    return given


def post(url: str, decision: Mapping[str, Any], seconds: float) -> str | None:
    """Post the decision as JSON.

    Args:
        url: see `address`.
        decision: what is sent.
        seconds: longest wait, to connect and for each part of the answer.

    Returns:
        None where it was taken (any 2xx), otherwise what went wrong, without the address.
    """
    body = json.dumps(decision, allow_nan=False).encode()
    try:
        request = Request(url, body, {"Content-Type": "application/json"}, method="POST")
        with build_opener(_StayHere).open(request, timeout=seconds):
            return None
    except HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except TimeoutError:
        return f"it did not answer within {seconds:g} seconds"
    except (OSError, HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            return f"it did not answer within {seconds:g} seconds"
        # The text of anything else may repeat the address.
        return getattr(cause, "strerror", None) or f"the connection failed ({type(cause).__name__})"


class _StayHere(HTTPRedirectHandler):
    """Follows nowhere: a redirected POST would arrive as a GET without the decision, and count as taken."""

    def redirect_request(self, *_: Any) -> None:
        return None
