"""The life of a version with the real commands and processes: registered, warmed, ramped up under guard, rolled back."""

import json
import signal
import time

import pytest

from birdwatch.records import Alert, encode
from birdwatch.streams import open_streams

from .test_serving import Clients, Pipeline, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def pipeline(tmp_path):
    made = Pipeline(tmp_path)
    yield made
    made.kill_all()


def start_guard(pipeline):
    guard = pipeline.processes["guard"] = pipeline.run("serve", "guard")
    assert guard.stdout.readline() == "ready\n"


def deploy(pipeline, *arguments):
    """Run a command; give its exit code and what it said."""
    with pipeline.run("deploy", *map(str, arguments)) as process:
        said, complained = process.communicate(timeout=120)
        return process.returncode, said + complained


def put_alert(pipeline, **fields):
    about = {"rule": "pairs", "severity": "page", "attribution": "the model changed", "model": "new", "version": "1"}
    now = time.time()
    about |= {"fingerprint": "ab12", "reason": "it differs"}
    alert = Alert(ts=now, started=now, state="firing", **{**about, **fields})
    streams = open_streams(pipeline.address)
    streams.append("alerts", [(b"ab12", encode(alert))])
    streams.close()


def acts_of_the_guard(pipeline):
    return [control for control in pipeline.read("control") if control.author == "guard"]


def test_a_version_is_warmed_ramped_up_and_rolled_back_by_the_guard_though_that_is_killed(pipeline):
    others = {
        "bird": ["--model", "bird", "--target", "models:plus_wind", "--role", "canary"],
        "new": ["--model", "new", "--target", "models:plus_wind"],
    }
    pipeline.start("gateway", "rendezvous", "champion", "cheap", **others)
    start_guard(pipeline)
    pipeline.deploy("register", "new", "1")
    code, said = deploy(pipeline, "ramp", "new", 1, 50, "--reason", "in a hurry")
    assert code == 2
    assert "is not warm" in said
    with Clients(pipeline) as clients:
        code, said = deploy(pipeline, "warm", "new", 1, "--scores", 60, "--timeout", 60, "--json")
        assert code == 0, said
        assert json.loads(said)["evidence"]["ratio"] == pytest.approx(1.0)
        assert {reply["model"] for reply in list(clients.replies.values())} <= {"champion", "cheap"}
        pipeline.deploy("ramp", "new", "1", "50", "--guard", "rollback")
        wait_for(lambda: "new" in {reply["model"] for reply in list(clients.replies.values())})

        put_alert(pipeline, fingerprint="cd34", attribution="inputs changed")
        put_alert(pipeline, model="champion")
        pipeline.stop("guard", signal.SIGKILL)
        put_alert(pipeline)
        start_guard(pipeline)
        (action,) = wait_for(lambda: acts_of_the_guard(pipeline))
        assert (action.action, action.model, action.version) == ("rollback", "new", "1")
        assert action.params["fingerprint"] == "ab12"
        later = {f"r{n}" for n in range(len(clients.replies) + 20, 10**6)}
        wait_for(lambda: len(later & set(clients.replies)) >= 30)
        pipeline.stop("guard", signal.SIGKILL)
        start_guard(pipeline)
        put_alert(pipeline)
    assert {clients.replies[request_id]["model"] for request_id in later & set(clients.replies)} <= {
        "champion",
        "cheap",
    }
    code, said = deploy(pipeline, "status", "--json")
    (new,) = [row for row in json.loads(said)["models"] if row["model"] == "new"]
    assert (code, new["stage"], new["by"]) == (0, "shadow", "guard")
    assert len(acts_of_the_guard(pipeline)) == 1
    code, _, _ = pipeline.stop("guard")
    assert code == 0


def test_a_guard_answers_for_its_health(pipeline):
    guard = pipeline.processes["guard"] = pipeline.run("serve", "guard", "--health-port", "0")
    assert guard.stdout.readline().startswith("health on http://127.0.0.1:")
