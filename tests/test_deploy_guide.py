"""The guides to deployment: every command can be given as it stands, and what is printed is what is shown."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from birdwatch.cli.main import app
from birdwatch.demo import story
from birdwatch.demo.flights import start_of
from birdwatch.errors import SettingsError
from birdwatch.records import Control, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.streams import open_streams
from birdwatch.testing import a_score

GUIDES = [Path(__file__).parents[1] / "docs/guide" / name for name in ("deploy.md", "swap.md")]
DEPLOY = GUIDES[0].read_text()


def commands():
    """Give every command of ours in the guides, as arguments."""
    for path in GUIDES:
        blocks = re.findall(r"```(?:sh|console)\n(.*?)```", path.read_text(), re.DOTALL)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            found = re.match(r"(?:\$ )?birdwatch (?!:)(.*)", line)
            if found:
                yield [word for word in shlex.split(found[1], comments=True) if word != "&"]


@pytest.mark.parametrize("arguments", list(commands()), ids=" ".join)
def test_every_command_is_one_that_the_command_line_takes(arguments):
    command = typer.main.get_command(app)
    context = command.make_context("birdwatch", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    assert set(context.params) >= {"streams"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The control stream of the demo, and the command line on it."""
    address = f"sqlite:{tmp_path}/streams"
    monkeypatch.setenv("BIRDWATCH_STREAMS", address)
    monkeypatch.setenv("COLUMNS", "100")
    place = open_streams(address)
    plan = parse_schedule(story.schedule(0.2284), place="the demo")
    params = plan.model_dump(mode="json", exclude={"version"})
    reason = "the rendezvous was started with it"
    began = start_of("2013-05-12")
    said = Control(ts=began, action="schedule", author="rendezvous", reason=reason, version="1", params=params)
    put(place, said, story.register(tmp_path))
    for model in ("champion", "fallback"):
        place.append("scores", [(b"", encode(a_score(model=model)))])
    place.append("canary", [(b"", encode(a_score(model="canary")))])
    yield lambda *arguments: CliRunner().invoke(app, ["deploy", *map(str, arguments)]), place
    place.close()


def put(place, *records):
    place.append("control", [(b"", encode(record)) for record in records])


def warm(reason="it passed the check"):
    ramp = story.ramp(warm=True)
    return Control(ts=ramp.ts, action="warm", author=ramp.author, reason=reason, model=ramp.model, version=ramp.version)


def shown(command):
    """Give what the guide shows after a command."""
    (text,) = re.findall(rf"\$ birdwatch deploy {command}.*?\n(.*?)```", DEPLOY, re.DOTALL)
    return plain(text)


def plain(text):
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_refusal_of_a_version_that_would_answer_unseen(run):
    deploy, _ = run
    error = deploy("register", "champion", 2, "--reason", "a new release").exception
    assert isinstance(error, SettingsError)
    assert f"birdwatch: {error}" == " ".join(shown("register champion 2"))


def test_the_status_in_the_ramp(run):
    deploy, place = run
    put(place, warm())
    ramped = deploy(
        "ramp",
        "challenger",
        2,
        10,
        "--guard=rollback",
        "--author=dora",
        "--ts",
        story.RAMP_FROM,
        "--reason",
        "a tenth to begin with",
    )
    assert ramped.exit_code == 0
    assert plain(deploy("status").output) == shown("status")


def test_the_history_of_the_demo(run):
    deploy, place = run
    *_, last = shown("history")
    reason = " ".join(line[65:].strip() for line in shown("history")[-6:])
    back = Control(
        ts=start_of("2013-05-15"), action="rollback", author="guard", reason=reason, model="challenger", version="2"
    )
    put(place, warm(), story.ramp(warm=True), back)
    assert last.endswith("(pairs)")
    assert plain(deploy("history").output) == shown("history")
