"""An application behind uvicorn as the service has it, within the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from serving.heads import BoundedHeads

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


@asynccontextmanager
async def listening(
    app: App, protocol: type[BoundedHeads] = BoundedHeads, **options: Any
) -> AsyncIterator[int]:
    """Its port on 127.0.0.1, until the block ends.

    Args:
        app: whatever is served.
        protocol: of a connection.
        options: of uvicorn.
    """
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_level="warning", port=0, **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def refusing(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuses a POST before its body, and answers all else."""
    status = 429 if scope["method"] == "POST" else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
