"""What the tests of a runner share: models in a module of their own, and a runner of one of them."""

import pytest

from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner
from birdwatch.testing import FakeClock, MemoryStreams

MODULE = """
def large(batch):
    return [{"score": row["x"], "output": "small" if row["x"] == 1 else "y" * 900_000} for row in batch]


def twice(batch):
    return [2 * row["x"] for row in batch]

def thrice(batch):
    return [3 * row["x"] for row in batch]

def inverse(batch):
    return [1 / row["x"] for row in batch]

def sizes(batch):
    return [len(batch)] * len(batch)

def ranking(batch):
    return [{"score": row["x"], "output": row["ranked"]} for row in batch]

def makes(offset=0):
    return lambda batch: [row["x"] + offset for row in batch]

def ends(batch):
    raise SystemExit(3)
"""


@pytest.fixture
def clock():
    return FakeClock(1_368_532_800.0)


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def start(streams, clock, module):
    def started(function="twice", model="m", version="1", **options):
        return Runner(streams, model, Spec(version, f"{module}:{function}"), clock=clock, **options)

    return started
