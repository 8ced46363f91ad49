"""A model that hangs, when it scores or when it is loaded, holds up nobody else."""

import importlib
import sys

import pytest

from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner

from .runners import ask, control, load, scores

HANGS = """
import threading
gate = threading.Event()

def score(batch):
    if any(row["x"] == 13 for row in batch):
        gate.wait(60)
    return [row["x"] for row in batch]

def make(path):
    gate.wait(60)
    return score
"""


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """The name of a module whose models hang, as 13 tells them to, until they are let go."""
    name = f"hangs_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(HANGS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)  # a runner may be gone before it comes to that
    yield name
    let_go(name)


def let_go(name):
    sys.modules[name].gate.set()


def test_a_model_that_takes_too_long_gives_errors_at_once_and_serves_again_when_it_comes_back(streams, clock, hanging):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13, 14)
    assert runner.step(0.0) == 2
    assert runner.trouble() == "the model is still busy with request r13 and 1 more"
    runner.timeout_seconds = 60.0
    ask(streams, clock, 15)
    assert runner.step(0.0) == 1
    let_go(hanging)
    assert runner._serving.stuck(60.0) == ""
    ask(streams, clock, 16)
    assert runner.step(0.0) == 1
    assert runner.trouble() is None
    late = "the model took longer than 0 s"
    assert [(s.request_id, s.score, s.error) for s in scores(streams)] == [
        ("r13", None, late),
        ("r14", None, late),
        ("r15", None, "the model is still busy with request r13 and 1 more"),
        ("r16", 16.0, None),
    ]
    assert [s.elapsed_seconds is None for s in scores(streams)] == [False, False, True, False]
    assert (runner.counts["timed_out", "m"], runner.counts["errors", "m"]) == (3, 3)


def test_what_took_too_long_is_not_scored_again_after_a_restart(streams, clock, hanging, start):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13)
    runner.run(iter([False, True]).__next__)
    assert start().step(0.0) == 0


def test_another_version_serves_although_the_one_before_it_hangs(streams, clock, hanging, module):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13)
    runner.step(0.0)
    runner.timeout_seconds = 60.0
    control(streams, "register", "2", target=f"{module}:twice")
    load(runner)
    ask(streams, clock, 14)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", None), ("2", 28.0)]
    runner.close()  # the one that hangs is not waited for


def test_while_a_version_is_loaded_the_one_before_it_goes_on(streams, clock, hanging, start):
    runner = start()
    control(streams, "register", "2", target=f"{hanging}:make", artifact="any")
    ask(streams, clock, 1, 2)
    assert runner.step(0.0) == 2
    assert runner.version == "1"
    control(streams, "rollback", "2")  # it is not even waited for
    load(runner)
    control(streams, "register", "3", target=f"{hanging}:make", artifact="another")
    runner.step(0.0)
    let_go(hanging)
    runner.settle(60.0)
    ask(streams, clock, 3)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0), ("1", 4.0), ("3", 3.0)]


def test_who_is_asked_to_stop_while_the_first_version_is_loaded_stops(streams, clock, hanging):
    spec = Spec("1", f"{hanging}:make", "any")
    ask(streams, clock, 1)
    runner = Runner(streams, "m", spec, clock=clock, start="earliest", stopping=lambda: True)
    runner.run(lambda: True)
    assert (runner.version, runner.step(0.0)) == ("", 0)
    runner.close()
