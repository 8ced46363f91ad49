"""What is asked of a runner, and what it says."""

from birdwatch.records import Control, Score, decode, encode
from birdwatch.testing import a_request


def ask(streams, clock, *xs, **fields):
    records = [a_request(id=f"r{x}", received_ts=clock(), features={"x": x}, **fields) for x in xs]
    streams.append("requests", [(r.id.encode(), encode(r)) for r in records])


def control(streams, action, version="", model="m", **params):
    record = Control(ts=0, action=action, author="ann", reason="a test", model=model, version=version, params=params)
    streams.append("control", [(model.encode(), encode(record))])


def load(runner):
    """Have the runner read control, and wait until what it should serve is loaded or refused."""
    runner.step(0.0)
    runner.settle(60.0)


def scores(streams, stream="scores"):
    return [decode(m.value, Score) for m in streams.reader([stream]).poll(timeout=0.0)]
