"""A real Prometheus scrapes the processes, and takes the rules that we ship."""

import os
import shutil
import subprocess
import sys

import httpx
import pytest
import yaml

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.receivers import disable
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store

from .waiting import free_port, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not there: apt-get install prometheus"
    ),
]

SCHEDULE = """
version: "1"
deadline_seconds: 5.0
default: 0.0
canary: [c]
tiers: [{models: [m]}]
"""

OWN = {
    "gateway": "birdwatch_gateway_in_flight_limit",
    "runner": 'birdwatch_runner_version_info{model="m"}',
    "canary": 'birdwatch_runner_version_info{model="c"}',
    "rendezvous": "birdwatch_rendezvous_answers_total",
    "decoy": "birdwatch_decoy_requests_total",
    "guard": "birdwatch_ready",
    "tail": "birdwatch_tail_messages_total",
    "judge": "birdwatch_tail_panes_closed_total",
    "alerts": "birdwatch_alerts_attempts_total",
    "archive": "birdwatch_archive_messages_total",
    "gate": "birdwatch_gate_checks_total",
}
"""What each process shows of its own."""


@pytest.fixture
def ask():
    """Give what GETs, or POSTs some JSON: the answer, or None as long as nobody answers."""
    with httpx.Client(trust_env=False) as client:

        def ask(url, body=None, **params):
            try:
                return client.get(url, params=params) if body is None else client.post(url, json=body)
            except httpx.HTTPError:
                return None

        yield ask


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*command):
        with (tmp_path / f"log{len(started)}").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=tmp_path, env=os.environ, stdout=log, stderr=log))

    yield start
    for process in started:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("kind", ["config", "rules"])
def test_what_is_shipped_is_what_prometheus_takes(root, kind):
    file = {"config": "prometheus.yml", "rules": "birdwatch.rules.yml"}[kind]
    checked = subprocess.run(
        ["promtool", "check", kind, root / "docs/deploy" / file], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_process_is_scraped_and_an_alert_that_does_not_arrive_is_told_of(root, run, ask, tmp_path):
    birdwatch = (sys.executable, "-m", "birdwatch")
    ports = {part: free_port() for part in (*OWN, "prometheus")}
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    found = Finding(rule="shift", subject=Subject("m", "2"), ts=60, severity="page", active=True, reason="moved")
    advance(store, [found], sinks=["pager"])
    disable(store, "pager", 1000.0, "answered 410 Gone")
    store.close()
    (tmp_path / "one.py").write_text("def score(rows):\n    return [0.5] * len(rows)\n")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    streams, store = ("--streams", "sqlite:s"), ("--store", "birdwatch.db")
    runner = ("serve", "runner", "--target", "one:score", *streams)
    commands = {
        "gateway": ("serve", "gateway", "--schedule", "schedule.yaml", *streams),
        "runner": (*runner, "--model", "m"),
        "canary": (*runner, "--model", "c", "--role", "canary"),
        "rendezvous": ("serve", "rendezvous", "--schedule", "schedule.yaml", *streams),
        "decoy": ("serve", "decoy", "--archive", "a", *streams),
        "guard": ("serve", "guard", *streams),
        "tail": ("tail", *store, *streams),
        "judge": ("judge", "--store", "judged.db", *streams),
        "alerts": ("alerts", "deliver", *store, *streams),
        "gate": ("gate", *store),
        "archive": ("archive", "write", "requests", "--from", "sqlite:s", "--to", "kept"),
    }
    for part, command in commands.items():
        if part == "archive":  # what it archives must be there
            scored = f"http://127.0.0.1:{ports['gateway']}/v1/score"
            until(lambda scored=scored: getattr(ask(scored, {"features": {}}), "is_success", False))
        run(*birdwatch, *command, "--port" if part in {"gateway", "gate"} else "--health-port", str(ports[part]))
    config = yaml.safe_load((root / "docs/deploy/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    targets = [f"127.0.0.1:{ports[part]}" for part in OWN]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(root / "docs/deploy/birdwatch.rules.yml", tmp_path)
    address = f"127.0.0.1:{ports['prometheus']}"
    run("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}")

    def asked(query):
        answer = ask(f"http://{address}/api/v1/query", query=query)
        rows = answer.json()["data"]["result"] if answer is not None and answer.is_success else []
        return {(row["metric"].get("instance"), row["metric"].get("sink")): float(row["value"][1]) for row in rows}

    at = {part: f"127.0.0.1:{ports[part]}" for part in OWN}
    until(lambda: asked("up == 1") == {(target, None): 1.0 for target in targets})
    until(lambda: asked("birdwatch_ready == 1") == {(target, None): 1.0 for target in targets})
    for part, own in OWN.items():
        until(lambda own=own, part=part: at[part] in {instance for instance, _ in asked(own)})
    until(lambda: asked('birdwatch_alerts_waiting{sink="pager"}')[at["tail"], "pager"] == 1.0)
    until(lambda: asked('birdwatch_alerts_attempts_total{result="delivered"}') == {(at["alerts"], "stream"): 1.0})

    def firing():
        rows = ask(f"http://{address}/api/v1/alerts").json()["data"]["alerts"]
        return {row["labels"]["alertname"] for row in rows if row["state"] == "firing"}

    until(lambda: "BirdwatchSinkDisabled" in firing())
    (group,) = ask(f"http://{address}/api/v1/rules").json()["data"]["groups"]
    assert "err" not in {rule["health"] for rule in group["rules"]}
