"""The guide to the bootstrap is followed to the letter: from a pipeline with only a decoy to a first model that answers."""

import re
import runpy
import shlex
import subprocess
import sys
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import birdwatch
from birdwatch.cli.main import app

from .waiting import free_port, until

pytestmark = pytest.mark.integration

GUIDE = (Path(__file__).parents[2] / "docs/guide/bootstrap.md").read_text()


@pytest.fixture
def processes():
    with ExitStack() as held:
        yield held


def start(words, processes):
    """Start what the guide starts with `&`, and wait until it says that it is ready."""
    process = processes.enter_context(
        subprocess.Popen([sys.executable, "-m", "birdwatch", *words[1:]], stdout=subprocess.PIPE, text=True)
    )
    processes.callback(process.terminate)
    return process


def follow(line, processes):
    """Do what a line of the guide says; give what it printed."""
    words = shlex.split(line)
    if words[0] == "python":
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # a script of one's own would not stop for them
            runpy.run_path(words[1], run_name="__main__")
        return ""
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, (line, done.output, done.exception)
    return done.output


def answer(line):
    words = shlex.split(line)
    return httpx.post(words[2], content=words[4]).json()


def requests_archived():
    with suppress(birdwatch.errors.StreamError):
        return int(birdwatch.open_archive("archive").summary().groupby("stream")["rows"].sum().get("requests", 0))
    return 0


def test_following_it_leads_from_only_a_decoy_to_a_model_that_answers(tmp_path, monkeypatch, capsys, processes):
    monkeypatch.chdir(tmp_path)
    guide = GUIDE.replace("8080", str(free_port()))
    for text in re.findall(r"```(?:yaml|python)\n(.*?)```", guide, re.DOTALL):
        Path(text.splitlines()[0].removeprefix("# ")).write_text(text)
    serve, ask, train, judge, compare, register = (
        text.splitlines() for text in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    )

    started = [start(shlex.split(line.removesuffix("&")), processes) for line in serve]
    for process in started:
        assert any(line.startswith(("ready", "listening")) for line in iter(process.stdout.readline, ""))
    follow(ask[0], processes)
    assert "1,067 flights asked about, 1,046 have landed" in capsys.readouterr().out
    until(lambda: requests_archived() == 1067, 10)
    assert "outcomes: 1,046 messages" in follow(ask[1], processes)

    follow(train[0], processes)
    assert "trained on 715 flights, 20% of them late" in capsys.readouterr().out
    assert "PASS: 2 columns of 715 rows" in follow(train[1], processes)

    assert "343 requests scored as first 1" in follow(judge[0], processes)
    said = follow(judge[1], processes)
    assert "12 of 343 scores have no label" in said
    assert re.search(r"auc +0\.71\d+ .* 0\.6[89]\d* +0\.7[23]\d*", said)  # as the guide says
    assert "724 requests scored" in follow(compare[0], processes)
    assert "343 requests scored" in follow(compare[1], processes)
    assert "PASS" in follow(compare[2], processes)
    assert "<svg" in Path("check.html").read_text()

    runner, deploy, curl = register
    assert answer(curl)["reason"] == "default"
    process = start(shlex.split(runner.removesuffix("&")), processes)
    assert "ready" in process.stdout.readline()
    follow(deploy, processes)
    until(lambda: answer(curl)["model"] == "first", 10)
    learned = birdwatch.open_archive("learned").read("scores")
    assert learned["score"].between(0, 1).all()
