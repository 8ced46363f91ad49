"""How tests wait for what other processes do."""

import socket
import time

__all__ = ["free_port", "until"]


def until(condition, seconds=60.0):
    """Wait for a condition; it not coming about in time is a failure."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def free_port():
    """Give a port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
