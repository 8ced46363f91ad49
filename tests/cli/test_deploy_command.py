import getpass
import json
import time

import pytest
from typer.testing import CliRunner

from birdwatch.cli.deploy import app
from birdwatch.errors import SettingsError
from birdwatch.records import Control, decode
from birdwatch.streams import open_streams


@pytest.fixture
def deploy(tmp_path):
    address = f"sqlite:{tmp_path}/streams"

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments, "--streams", address])
        streams = open_streams(address)
        reader = streams.reader(["control"])
        records = [decode(message.value, Control) for message in reader.poll(timeout=0.0)]
        reader.close()
        streams.close()
        return result, records

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["register", "m", "2"], ("register", "m", "2", {})),
        (
            ["register", "m", "2", "--target", "a:b", "--artifact", "c.skops", "--role", "canary"],
            ("register", "m", "2", {"target": "a:b", "artifact": "c.skops", "role": "canary"}),
        ),
        (["champion", "m"], ("champion", "m", "", {})),
        (["champion", "m", "--version", "2"], ("champion", "m", "2", {})),
        (["rollback", "m", "2"], ("rollback", "m", "2", {})),
        (["rollback", "m", "2", "--to", "1"], ("rollback", "m", "2", {"to": "1"})),
        (["retire", "m"], ("retire", "m", "", {})),
        (["retire", "m", "--version", "2"], ("retire", "m", "2", {})),
    ],
)
def test_a_change_is_put_on_the_control_stream_with_author_and_reason(deploy, arguments, expected):
    result, [record] = deploy(*arguments, "--author", "ann", "--reason", "it is time", "--ts", "100.5")
    assert result.exit_code == 0
    assert (record.action, record.model, record.version, record.params) == expected
    assert (record.author, record.reason, record.ts) == ("ann", "it is time", 100.5)
    assert result.output.startswith(" ".join(part for part in expected[:3] if part) + ": on the control stream of")


def test_author_and_time_are_filled_in(deploy):
    before = time.time()
    _, [record] = deploy("retire", "m", "--reason", "old")
    assert record.author == getpass.getuser()
    assert before <= record.ts <= time.time()


@pytest.mark.parametrize("action", [["register", "m", "2"], ["champion", "m"], ["rollback", "m", "2"], ["retire", "m"]])
def test_a_reason_is_required(deploy, action):
    result, records = deploy(*action)
    assert result.exit_code == 2
    assert "--reason" in result.output
    assert records == []


def test_the_record_itself_can_be_had_as_json(deploy):
    result, _ = deploy("rollback", "m", "2", "--reason", "bad", "--author", "ann", "--ts", "1", "--json")
    assert json.loads(result.output) == {
        "ts": 1.0,
        "action": "rollback",
        "author": "ann",
        "reason": "bad",
        "model": "m",
        "version": "2",
    }


def test_a_schedule_is_checked_before_it_is_written(deploy, tmp_path):
    path = tmp_path / "schedule.yaml"
    path.write_text("version: 4\ndefault: 0.5\ntiers: [{models: [a]}]\n")
    result, [record] = deploy("schedule", str(path), "--reason", "simpler")
    assert result.exit_code == 0
    assert (record.action, record.version, record.params["tiers"]) == (
        "schedule",
        "4",
        [{"models": ["a"], "after_seconds": 0.0}],
    )
    path.write_text("default: 0.5\ntiers: []\n")
    result, records = deploy("schedule", str(path), "--reason", "simpler")
    assert isinstance(result.exception, SettingsError)
    assert "tiers" in str(result.exception)
    assert len(records) == 1
