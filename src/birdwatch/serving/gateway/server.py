"""Runs the gateway's application until it is asked to stop, on a port that is known before the first request."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from birdwatch.errors import ServingError
from birdwatch.serving.process import announce, announce_ready

__all__ = ["bind", "serve_http"]


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the process around it, which then ends with code 0."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], bool]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            announce(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
            announce_ready()

    async def on_tick(self, counter: int) -> bool:
        return self._stopping() or await super().on_tick(counter)


def bind(host: str, port: int) -> socket.socket:
    """Take a port; 0 takes a free one.

    Raises
    ------
    ServingError
        It is taken, or not allowed.
    """
    # asyncio sends at once (TCP_NODELAY) only where the protocol is named; else the answers wait for acknowledgements.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise ServingError(
            f"port {port} on {host} cannot be used: {error.strerror}; name another one with --port, or 0 for a free one"
        ) from error
    return taken


def serve_http(app: ASGIApp, bound: socket.socket, stopping: Callable[[], bool]) -> None:
    """Serve until asked to stop, then finish what is in hand.

    Says ``listening on http://HOST:PORT``, then ``ready``, on standard output.

    Raises
    ------
    ServingError
        The application did not start.
    """
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=10)
    server = _Server(config, stopping)
    server.run(sockets=[bound])
    if not server.started:
        raise ServingError("the gateway did not start: the reason stands above")
