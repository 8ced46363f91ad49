"""Which version of a model serves: what control says, as far as it can be loaded."""

import sys
import threading

import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner

from .runners import ask, control, load, scores


def test_a_registered_version_serves_when_it_is_loaded_and_a_rollback_at_the_next_request(
    streams, clock, module, start
):
    runner = start()
    ask(streams, clock, 1)
    runner.step(0.0)
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    ask(streams, clock, 2)
    runner.step(0.0)
    control(streams, "rollback", "2", to="1")  # in memory: it is in force at once
    ask(streams, clock, 3)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0), ("2", 6.0), ("1", 6.0)]


def test_a_version_that_cannot_be_loaded_is_not_served_and_said_so(streams, clock, module, start, capsys):
    runner = start()
    control(streams, "register", "2", target=f"{module}:missing")
    load(runner)
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0)]
    assert "version '2' is not served" in capsys.readouterr().err
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    assert runner.version == "2"


def test_control_is_remembered_over_a_restart(streams, clock, module, start):
    control(streams, "register", "2", target=f"{module}:thrice")
    control(streams, "register", "9", model="other", target="nowhere:nothing")
    assert start().version == "2"


def test_when_the_last_registered_version_cannot_be_loaded_on_start_the_given_one_serves(streams, module, start):
    control(streams, "register", "2", target=f"{module}:missing")
    assert start().version == "1"


def test_a_version_is_rolled_back_although_a_later_one_could_not_be_loaded(streams, module, start):
    def roll_back():
        control(streams, "register", "2", target=f"{module}:thrice")
        control(streams, "register", "3", target=f"{module}:missing")
        control(streams, "rollback", "2", to="1")

    runner = start()
    roll_back()
    load(runner)
    assert runner.version == "1"
    assert start().version == "1"


def test_when_what_it_is_rolled_back_to_cannot_be_loaded_any_more_the_old_one_goes_on(streams, module, start, capsys):
    runner = start("twice")
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    runner._workers.pop(Spec("1", f"{module}:twice"))
    del sys.modules[module].twice
    control(streams, "rollback", "2", to="1")
    load(runner)
    assert runner.version == "2"
    assert "version '1' is not served" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_does_not_start(start):
    with pytest.raises(ServingError, match="no 'missing'"):
        start("missing")


def test_a_retired_model_does_not_start_however_long_it_takes_to_fetch_that(remote, clock, module):
    control(remote, "retire")
    with pytest.raises(ServingError, match="retired"):
        Runner(remote, "m", Spec("1", f"{module}:twice"), clock=clock)


def test_a_retired_model_ends_and_does_not_start_again(streams, clock, start):
    runner = start()
    control(streams, "retire")
    runner.run(lambda: False)
    assert runner.retired
    runner.close()
    with pytest.raises(ServingError, match="retired"):
        start()


def test_memory_keeps_few_versions(streams, clock, module, start):
    before = sum(thread.name.startswith("model ") for thread in threading.enumerate())
    runner = start()
    for version in range(2, 12):
        control(streams, "register", str(version), target=f"{module}:thrice")
        load(runner)
    assert len(runner._workers) <= 4
    assert sum(thread.name.startswith("model ") for thread in threading.enumerate()) <= 4 + before
    assert runner.version == "11"


def test_a_version_comes_with_its_options(streams, clock, module, start):
    runner = start()
    control(streams, "register", "2", target=f"{module}:makes", options={"offset": 100})
    load(runner)
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("2", 101.0)]


def test_pickles_are_loaded_only_where_the_command_line_allows_it(streams, start, capsys):
    runner = start()
    control(streams, "register", "2", target="pickle", artifact="model.pkl", options={"sha256": "ab", "allow": True})
    load(runner)
    assert runner.version == "1"
    assert "start the runner with --allow-pickle" in capsys.readouterr().err
