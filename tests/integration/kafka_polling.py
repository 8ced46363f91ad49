"""How tests wait for Kafka, and for readers of it."""

import time

__all__ = ["held", "poll_until"]


def poll_until(readers, done, seconds=60):
    """Poll the readers in turn until `done()`; give all messages. Without readers, wait."""
    messages, until = [], time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"it did not come to this: {[reader.positions() for reader in readers]}"
        for reader in readers:
            messages += reader.poll(timeout=0.25)
        if not readers:
            time.sleep(0.05)
    return messages


def held(reader):
    return set(reader.positions())
