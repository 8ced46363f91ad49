"""What every serving process shares: how it says that it is ready, and how it is asked to stop."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType
from typing import Any, Final

from birdwatch.errors import StreamError

__all__ = ["announce", "announce_ready", "provenance", "retry", "until_signalled", "warn"]

_RETRY_SECONDS: Final = 1.0


@contextmanager
def until_signalled() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGTERM or SIGINT has come; what is in hand can then be finished."""
    caught: list[int] = []

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(line: str) -> None:
    """Tell the process that started this one something, on a line of standard output."""
    print(line, flush=True)  # noqa: T201 - this is the interface to a supervisor


def announce_ready() -> None:
    """Tell the process that started this one that the work can begin."""
    # What there is now stays, imported modules above all. Else the garbage collector goes through it again and again
    # under load, about once a second, and each time all requests in flight wait some 50 ms for it.
    gc.collect()
    gc.freeze()
    announce("ready")


def warn(component: str, message: str) -> None:
    """Tell people something, on a line of standard error."""
    print(f"birdwatch {component}: {message}", file=sys.stderr, flush=True)  # noqa: T201


def retry(
    component: str, attempt: Callable[[], None], stopping: Callable[[], bool], sleep: Callable[[float], object]
) -> None:
    """Attempt, a second after the streams have failed, what needs them; again and again, until it works or not wanted."""
    while not stopping():
        sleep(_RETRY_SECONDS)
        try:
            attempt()
        except StreamError as error:
            warn(component, f"trying again: {error}")
        else:
            return


def provenance(component: str) -> dict[str, Any]:
    """Say who writes a record: the component, its version, host and process."""
    return {
        "component": component,
        "version": version("birdwatch"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
