"""How tests wait for readers of Kafka."""

__all__ = ["held", "poll_until"]


def poll_until(readers, done, polls=120):
    """Poll the readers in turn until `done()`; give all messages."""
    messages = []
    for _ in range(polls):
        if done():
            return messages
        for reader in readers:
            messages += reader.poll(timeout=0.25)
    raise AssertionError(f"it did not come to this: {[reader.positions() for reader in readers]}")


def held(reader):
    return set(reader.positions())
