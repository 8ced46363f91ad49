"""What every serving process shares: how it says that it is ready, or in trouble, and who it is."""

import gc
import os
import socket
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from birdwatch.errors import StreamError

__all__ = ["announce", "announce_ready", "provenance", "retry", "warn"]

_RETRY_SECONDS: Final = 1.0


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
