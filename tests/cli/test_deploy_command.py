import getpass
import json
import re
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from birdwatch.cli.deploy import app
from birdwatch.errors import SettingsError
from birdwatch.records import Control, Token, as_token, decode, encode
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.streams import open_streams
from birdwatch.testing import a_request, a_score

PLAN = {"deadline_seconds": 1.0, "default": 0.5, "canary": ["old"]}
PLAN["tiers"] = [{"models": ["m"]}, {"models": ["cheap"], "after_seconds": 0.4}]


def control(action, model="", version="", author="ann", ts=1.0, **params):
    return Control(ts=ts, action=action, author=author, reason="a test", model=model, version=version, params=params)


class Deploy:
    """The command, and the streams that it writes to."""

    def __init__(self, folder):
        self.address = f"sqlite:{folder}/streams"
        self.streams = open_streams(self.address)

    def __call__(self, *arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--streams", self.address], env={"COLUMNS": "100"})

    def refused(self, *arguments):
        """Run what is refused, and give why."""
        before = len(self.records())
        error = self(*arguments).exception
        assert isinstance(error, SettingsError), error
        assert len(self.records()) == before
        return str(error)

    def put(self, *records, stream="control"):
        self.streams.append(stream, [(b"", encode(record)) for record in records])

    def records(self):
        reader = self.streams.reader(["control"])
        found = [decode(message.value, Control) for message in reader.poll(timeout=0.0)]
        reader.close()
        return found

    def scores(self, n=220, *, model="new", version="2", differs=0.02, seconds=0.01, canary=True):
        """Have a version, the champion and the canary score n requests."""
        rng = np.random.default_rng(1)
        champion = rng.uniform(0.2, 0.8, n)
        said = {(model, version): champion + rng.normal(0, differs, n), ("m", "1"): champion}
        streams = [("scores", who, scores) for who, scores in said.items()]
        if canary:
            streams.append(("canary", ("old", "0"), champion + rng.normal(0, 0.02, n)))
        for stream, (who, what), scores in streams:
            timed = {"queue_seconds": seconds, "elapsed_seconds": 0.001}
            self.put(
                *(
                    a_score(request_id=str(i), model=who, version=what, score=s, **timed)
                    for i, s in enumerate(scores.tolist())
                ),
                stream=stream,
            )


@pytest.fixture
def empty(tmp_path):
    made = Deploy(tmp_path)
    yield made
    made.streams.close()


@pytest.fixture
def deploy(empty):
    empty.put(control("schedule", version="1", author="rendezvous", **PLAN))
    empty.put(control("register", "new", "2", target="a:b"))
    empty.put(a_score(model="new", version="0"), stream="scores")
    return empty


WHO = ("--author", "bob", "--reason", "it is time", "--ts", "100.5")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["register", "other", "2"], ("register", "other", "2", {})),
        (
            ["register", "other", "2", "--target", "a:b", "--artifact", "c.skops", "--role", "canary"],
            ("register", "other", "2", {"target": "a:b", "artifact": "c.skops", "role": "canary"}),
        ),
        (
            ["register", "new", "3", "--options", '{"a": [1]}', "--option", "b=2", "--option", "c=late"],
            ("register", "new", "3", {"options": {"a": [1], "b": 2, "c": "late"}}),
        ),
        (["register", "m", "2", "--in-place"], ("register", "m", "2", {"in_place": True})),
        (["ramp", "new", "2", "10", "--anyway"], ("ramp", "new", "2", {"percent": 10, "anyway": True})),
        (
            ["ramp", "new", "2", "0.5", "--anyway", "--guard", "hold"],
            ("ramp", "new", "2", {"percent": 0.5, "anyway": True, "guard": "hold"}),
        ),
        (["champion", "new"], ("champion", "new", "", {})),
        (["champion", "new", "--version", "2", "--anyway"], ("champion", "new", "2", {})),
        (["rollback", "new", "2"], ("rollback", "new", "2", {})),
        (["rollback", "new", "2", "--to", "0"], ("rollback", "new", "2", {"to": "0"})),
        (["retire", "new"], ("retire", "new", "", {})),
        (["retire", "new", "--version", "2"], ("retire", "new", "2", {})),
        (
            ["override", "new", "--name", "south", "--when", "dest=LEX", "--when", "dest=JAC", "--when", "km>=20.5"],
            ("override", "new", "", {"name": "south", "when": {"dest": ["LEX", "JAC"], "km": {"at_least": 20.5}}}),
        ),
        (
            ["override", "new", "--when", "hour>=6", "--when", "hour < 12", "--when", "vip=true", "--when", 'zip="01"'],
            (
                "override",
                "new",
                "",
                {"name": "new", "when": {"hour": {"at_least": 6, "below": 12}, "vip": True, "zip": "01"}},
            ),
        ),
    ],
)
def test_a_change_is_put_on_the_control_stream_with_author_and_reason(deploy, arguments, expected):
    result = deploy(*arguments, *WHO)
    assert result.exit_code == 0, result.exception
    record = deploy.records()[-1]
    assert (record.action, record.model, record.version, record.params) == expected
    assert (record.author, record.reason, record.ts) == ("bob", "it is time", 100.5)
    assert result.stdout.startswith(" ".join(part for part in expected[:3] if part) + ": on the control stream of")


def test_every_record_that_is_written_is_one_that_the_fleet_takes(deploy):
    deploy.scores()
    for arguments in (
        ["warm", "new", "2"],
        ["ramp", "new", "2", 10, "--guard", "hold", "--reason", "go"],
        ["hold", "new", "--reason", "wait"],
        ["ramp", "new", "2", 20, "--anyway", "--reason", "over"],
        ["override", "new", "--when", "a=1", "--reason", "try"],
        ["override", "--clear", "new", "--reason", "tried"],
        ["champion", "new", "--version", "2", "--reason", "good"],
        ["rollback", "new", "2", "--reason", "not so good"],
        ["retire", "new", "--reason", "gone"],
    ):
        result = deploy(*arguments)
        assert result.exit_code == 0, (arguments, result.exception, result.output)
    fleet = Fleet(parse_schedule(PLAN, place="test"))
    assert [fleet.apply(record) for record in deploy.records()] == [None] * 11


def test_author_and_time_are_filled_in(deploy):
    before = time.time()
    deploy("retire", "new", "--reason", "old")
    record = deploy.records()[-1]
    assert record.author == getpass.getuser()
    assert before <= record.ts <= time.time()


@pytest.mark.parametrize(
    "action",
    [
        ["register", "x", "2"],
        ["ramp", "new", "2", "1"],
        ["champion", "new"],
        ["rollback", "new", "2"],
        ["retire", "new"],
    ],
)
def test_a_reason_is_required(deploy, action):
    result = deploy(*action)
    assert result.exit_code == 2
    assert "--reason" in result.output


def test_the_record_itself_can_be_had_as_json(deploy):
    result = deploy("rollback", "new", "2", "--reason", "bad", "--author", "ann", "--ts", "1", "--json")
    said = {"ts": 1.0, "action": "rollback", "author": "ann", "reason": "bad", "model": "new", "version": "2"}
    assert json.loads(result.output) == said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ramp", "new", "2", "10"], "not warm"),
        (["ramp", "m", "1", "10", "--anyway"], "needs no ramp"),
        (["ramp", "old", "0", "10", "--anyway"], "canary"),
        (["hold", "new"], "not being ramped up"),
        (["champion", "new", "--version", "2"], "has not scored lately"),
        (["champion", "old"], "canary"),
        (["champion", "nwe"], "did you mean 'new'"),
        (["override", "old"], "canary"),
        (["override"], "no model is named"),
        (["override", "new", "--when", "dest"], "feature=value"),
        (["override", "new", "--when", "a=1", "--when", "a<2"], "is a value already"),
        (["override", "new", "--when", "a<2", "--when", "a=1"], "is in a range already"),
        (["override", "new", "--when", "a<x"], "number"),
        (["override", "--clear", "north"], "there is no rule 'north'"),
        (["override", "new", "--clear", "north"], "--clear"),
        (["override", "--clear", "north"], "there are none"),
        (["rollback", "new", "22"], "known are 0, 2"),
        (["rollback", "new", "2", "--to", "11"], "known are 0, 2"),
        (["champion", "new", "--version", "22"], "known are 0, 2"),
        (["register", "m", "2"], "under a name of its own, say m-2"),
        (["register", "new", "3", "--options", "[]"], "no JSON object"),
        (["register", "new", "3", "--option", "b"], "name=value"),
        (["swap", "rendezvous", "--to", "rendezvous"], "in charge already"),
        (["swap", "rendezvous", "--to", "second"], "nothing was ever asked"),
    ],
)
def test_what_the_rendezvous_would_refuse_is_refused_at_once(deploy, arguments, why):
    assert why in deploy.refused(*arguments, "--reason", "a mistake")


def test_without_a_schedule_nothing_can_be_checked_and_that_is_said(empty, tmp_path):
    assert "start the rendezvous" in empty.refused("register", "m", "1", "--reason", "first")
    assert "start the rendezvous" in str(empty("status").exception)
    path = tmp_path / "schedule.yaml"
    path.write_text(json.dumps(PLAN))
    assert empty("schedule", path, "--reason", "first").exit_code == 0
    assert empty("register", "m", "1", "--in-place", "--reason", "first").exit_code == 0


def test_a_version_that_answers_already_may_be_put_on_record(deploy):
    deploy.put(a_score(model="m", version="7"), stream="scores")
    assert deploy("register", "m", "7", "--reason", "for the record").exit_code == 0


def test_a_schedule_is_checked_before_it_is_written(deploy, tmp_path):
    path = tmp_path / "schedule.yaml"
    path.write_text("version: 4\ndefault: 0.5\ntiers: [{models: [a]}]\n")
    assert deploy("schedule", path, "--reason", "simpler").exit_code == 0
    record = deploy.records()[-1]
    assert (record.action, record.version, record.params["tiers"][0]["models"]) == ("schedule", "4", ["a"])
    path.write_text("default: 0.5\ntiers: []\n")
    assert "tiers" in deploy.refused("schedule", path, "--reason", "simpler")
    path.write_text("default: 0.5\ntiers: [{models: [old]}]\n")
    assert "canary" in deploy.refused("schedule", path, "--reason", "simpler")


def test_a_guarded_ramp_without_a_guard_is_pointed_out(deploy):
    result = deploy("ramp", "new", "2", 1, "--anyway", "--guard", "hold", "--reason", "go")
    assert "birdwatch serve guard" in result.stderr


def test_a_version_that_passes_is_warm_with_the_evidence_on_record(deploy):
    deploy.scores()
    result = deploy("warm", "new", "2", "--author", "bob", "--ts", "5")
    assert result.exit_code == 0, result.output
    assert "WARM: new 2 is fit to answer, by 220 requests" in result.output
    record = deploy.records()[-1]
    assert (record.action, record.model, record.version, record.author) == ("warm", "new", "2", "bob")
    assert record.params["requests"] == 220
    assert record.params["max_seconds"] == 0.4  # when the second tier opens
    assert 0.8 < record.params["ratio"] < 1.2
    assert deploy("ramp", "new", "2", 10, "--reason", "it is warm").exit_code == 0


@pytest.mark.parametrize(
    ("traffic", "why"), [({"differs": 0.08}, "2 times is allowed"), ({"seconds": 0.5}, "it has 0.4 s to answer")]
)
def test_one_that_fails_is_not_and_the_numbers_are_said(deploy, traffic, why):
    deploy.scores(**traffic)
    before = len(deploy.records())
    result = deploy("warm", "new", "2")
    assert result.exit_code == 1
    assert why in result.output
    assert len(deploy.records()) == before
    found = json.loads(deploy("warm", "new", "2", "--json").output)
    assert (found["exit"], found["verdict"], len(found["failed"])) == (1, "fail", 1)
    assert found["evidence"]["requests"] == 220


def test_one_that_fails_can_be_taken_for_warm_anyway_and_that_is_on_record(deploy):
    deploy.scores(differs=0.08)
    assert deploy("warm", "new", "2", "--anyway", "--reason", "we know why").exit_code == 0
    record = deploy.records()[-1]
    assert record.params["anyway"]
    assert "2 times is allowed" in record.params["failed"][0]


def test_one_that_has_not_scored_enough_is_not_judged(deploy):
    deploy.scores(50)
    result = deploy("warm", "new", "2", "--timeout", 0.3)
    assert result.exit_code == 3
    assert "scored 50 requests" in result.output
    assert json.loads(deploy("warm", "new", "2", "--timeout", 0, "--json").output)["verdict"] == "inconclusive"


def test_without_a_canary_the_largest_difference_must_be_said(deploy):
    deploy.scores(canary=False)
    assert "--max-difference" in deploy.refused("warm", "new", "2")
    assert deploy("warm", "new", "2", "--max-difference", 0.05).exit_code == 0


def test_a_version_that_was_rolled_back_is_not_even_tried(deploy):
    deploy.put(control("rollback", "new", "2"))
    assert "register it again first" in deploy.refused("warm", "new", "2")


def test_the_champion_itself_cannot_be_warmed(deploy):
    assert "a name of its own" in deploy.refused("warm", "m", "2")


def asked(deploy, n, ago=0.0):
    now = time.time()
    deploy.put(*(a_request(id=str(i), received_ts=now - ago) for i in range(n)), stream="requests")


def test_a_swap_of_the_rendezvous_cuts_the_requests_with_a_token(deploy):
    asked(deploy, 3)
    reader = deploy.streams.reader(["requests"], group="second")
    reader.poll(2, 0.0)
    reader.commit()
    reader.close()
    result = deploy("swap", "rendezvous", "--to", "second", "--reason", "a new release", "--json")
    assert result.exit_code == 0, result.exception
    record = deploy.records()[-1]
    last = deploy.streams.reader(["requests"]).poll(10, 0.0)[-1]
    assert as_token(last.value) == Token(token=record.params["token"], component="rendezvous", to="second")
    assert json.loads(result.output)["params"] == {**record.params}


def test_an_instance_that_does_not_read_cannot_take_over(deploy):
    asked(deploy, 3, ago=600)
    assert "no instance 'second' has read" in deploy.refused("swap", "rendezvous", "--to", "second", "--reason", "x")
    reader = deploy.streams.reader(["requests"], group="second")
    reader.poll(1, 0.0)
    reader.commit()
    reader.close()
    assert "10 minutes ago" in deploy.refused("swap", "rendezvous", "--to", "second", "--reason", "x")
    assert deploy("swap", "rendezvous", "--to", "second", "--reason", "x", "--anyway").exit_code == 0


def test_a_swap_of_the_features_is_a_record_for_the_gateways(deploy):
    assert deploy("swap", "features", "--target", "a:b", "--config", "c.csv", "--reason", "x").exit_code == 0
    params = deploy.records()[-1].params
    assert params.pop("token")
    assert params == {"component": "features", "target": "a:b", "config": "c.csv"}


def test_the_status_says_where_each_model_stands_since_when_and_why(deploy):
    deploy.put(
        control("warm", "new", "2", ts=86_400),
        control("ramp", "new", "2", ts=90_000, percent=10, guard="rollback"),
        control("override", "cheap", name="south", when={"dest": "LEX"}),
    )
    result = deploy("status")
    text = result.output
    assert max(map(len, text.splitlines())) <= 100
    text = re.sub(" +", " ", text)
    assert "new ramp 10 % 2 rollback 1970-01-02 01:00 ann a test" in text
    assert "schedule 1+2: m, new for 10 % at once; cheap after 0.4 s; the default 0.5 after 0.95 s" in text
    assert "override south: dest = LEX to cheap" in text
    assert "in charge: rendezvous" in text
    found = json.loads(deploy("status", "--json").output)
    assert found["rendezvous"] == ["rendezvous"]
    (row,) = [row for row in found["models"] if row["model"] == "new"]
    assert (row["stage"], row["version"], row["percent"], row["guard"], row["since"], row["by"]) == (
        "ramp",
        "2",
        10,
        "rollback",
        90_000,
        "ann",
    )


def test_the_status_names_the_rendezvous_that_has_taken_over(deploy):
    deploy.put(control("swapped", component="rendezvous", token="t", to="second", at={"0": 17}))
    assert "in charge: second" in deploy("status").output


def test_the_history_shows_what_was_refused_and_why(deploy):
    deploy.put(control("champion", "old", ts=86_400), control("champion", "new", ts=90_000))
    text = deploy("history").output
    assert max(map(len, text.splitlines())) <= 100
    text = re.sub(r"\s+", " ", text)
    assert "1970-01-02 00:00 champion old ann a test – refused: it is the canary" in text
    rows = json.loads(deploy("history", "--model", "new", "--since", "1970-01-02", "--json").output)
    assert [(row["action"], row["model"], row["refused"]) for row in rows] == [("champion", "new", None)]
    assert "--since" in str(deploy("history", "--since", "soon").exception)
    assert deploy("history", "--since", "2100-01-01").output == "no changes\n"
