"""The gate answers what delivers models step by step, in the shapes that their documentation gives."""

import json
from contextlib import closing

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from birdwatch.check.report import Exit, Report
from birdwatch.check.service import Asked, Gate
from birdwatch.check.shadow import check_shadow
from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.detect.rules import load_rules
from birdwatch.errors import StoreError
from birdwatch.windows.store import Store

from ..detect.scenes import control, daily, draw, scores_pane  # noqa: TID252

DAY = 86_400
# https://docs.flagger.app/usage/webhooks
FLAGGER = {
    "name": "podinfo",
    "namespace": "test",
    "phase": "Progressing",
    "checksum": "85d557f47b",
    "metadata": {"test": "all", "token": "16688eb5e9f289f1991c", "shadow": "challenger"},
}


class Judge:
    """Gives the answer it is told to, and remembers what it was asked."""

    def __init__(self):
        self.answer = Report(Exit.PASS, "all is well", alpha=0.01)
        self.asked = []

    def __call__(self, asked):
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture
def gate(judge):
    with closing(Gate(judge, "127.0.0.1", 0)) as gate:
        yield gate


@pytest.fixture
def client(gate):
    with httpx.Client(base_url=f"http://127.0.0.1:{gate.port}") as client:
        yield client


@pytest.mark.parametrize("exit_", list(Exit))
def test_a_web_metric_of_argo_reads_the_verdict(client, judge, exit_):
    judge.answer = Report(exit_, "why")
    found = client.get("/check", params={"shadow": "challenger", "since": "2h"})
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("application/json")
    assert (found.json()["verdict"], found.json()["reason"]) == (exit_.word, "why")
    assert judge.asked == [Asked("challenger", None, "2h")]


@pytest.mark.parametrize(("exit_", "status"), [(Exit.PASS, 200), (Exit.FAIL, 409), (Exit.INCONCLUSIVE, 425)])
def test_a_webhook_of_flagger_goes_on_only_where_the_check_passes(client, judge, exit_, status):
    judge.answer = Report(exit_, "why")
    found = client.post("/flagger", json=FLAGGER)
    assert (found.status_code, found.text) == (status, f"{exit_.word}: why\n")
    assert judge.asked == [Asked("challenger")]


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b'{"metadata": 3}', b'{"metadata": {}}', b"\xff", b'{"name": "x"}'])
def test_a_webhook_that_names_no_shadow_does_not_pass(client, judge, body):
    assert client.post("/flagger", content=body).status_code == 400
    assert judge.asked == []


def test_a_shadow_must_be_named(client):
    found = client.get("/check")
    assert (found.status_code, "name the shadow" in found.text) == (400, True)


def test_a_store_that_cannot_be_read_is_no_pass(client, judge):
    judge.answer = StoreError("there is no store")
    assert client.get("/check?shadow=x").status_code == 503
    assert client.post("/flagger", json=FLAGGER).status_code == 503


def test_bodies_without_a_bound_are_refused(client):
    def endless():
        yield b"x"

    assert client.post("/flagger", content=endless()).status_code == 413


def test_other_paths_are_named_and_health_is_told(client):
    assert client.get("/").status_code == 404
    assert client.get("/healthz").text == "ok\n"


def test_it_counts_its_checks_by_result_for_prometheus_and_says_whether_it_is_at_work(gate, client, judge):
    assert client.get("/readyz").status_code == 503
    gate.pulse.beat()
    assert client.get("/readyz").text == "ready\n"
    client.get("/check")
    for answer in (Report(Exit.FAIL, "why"), Report(Exit.FAIL, "why"), StoreError("there is no store")):
        judge.answer = answer
        client.get("/check?shadow=x")
    found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    samples = {s.labels.get("result", s.name): s.value for f in parse(found.text) for s in f.samples}
    assert samples == {"birdwatch_ready": 1, "pass": 0, "fail": 2, "inconclusive": 0, "refused": 1, "error": 1}


def test_the_champion_that_serves_and_the_last_registration_are_found_in_the_store(tmp_path):
    rng = np.random.default_rng(3)
    with closing(daily(tmp_path / "s.db")) as store:
        store.put(0, scores_pane(draw(rng, challenger=1.0)))
        store.put(DAY, scores_pane(draw(rng), "2"))
        control(store, 0, 10.0, "champion", "champion", "1")
        control(store, 1, 20.0, "register", "challenger", "2")
    rules = load_rules(content("detectors"))
    with closing(Store(tmp_path / "s.db", readonly=True)) as store:
        since_registered = check_shadow(store, None, "challenger", rules, Settings())
        of_all = check_shadow(store, None, "challenger", rules, Settings(), since=0.0)
    assert since_registered.compared == "the shadow challenger against the champion"
    assert since_registered.exit is Exit.PASS, since_registered.reason
    assert of_all.exit is Exit.FAIL
    assert json.dumps([v.subject.version for v in since_registered.verdicts]).count("1") == 0
