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


def get(url, **params):
    try:
        return httpx.get(url, params=params, trust_env=False)
    except httpx.HTTPError:
        return None


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


def test_processes_are_scraped_and_an_alert_that_does_not_arrive_is_told_of(root, run, tmp_path):
    ports = {part: free_port() for part in ("tail", "decoy", "alerts", "prometheus")}
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    found = Finding(rule="shift", subject=Subject("m", "2"), ts=60, severity="page", active=True, reason="moved")
    advance(store, [found], sinks=["pager"])
    disable(store, "pager", 1000.0, "answered 410 Gone")
    store.close()
    birdwatch = (sys.executable, "-m", "birdwatch")
    run(*birdwatch, "tail", "--streams", "sqlite:s", "--store", "birdwatch.db", "--health-port", str(ports["tail"]))
    run(*birdwatch, "serve", "decoy", "--streams", "sqlite:s", "--archive", "a", "--health-port", str(ports["decoy"]))
    delivers = ("alerts", "deliver", "--streams", "sqlite:s", "--store", "birdwatch.db")
    run(*birdwatch, *delivers, "--health-port", str(ports["alerts"]))
    config = yaml.safe_load((root / "docs/deploy/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    targets = [f"127.0.0.1:{ports[part]}" for part in ("tail", "decoy", "alerts")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(root / "docs/deploy/birdwatch.rules.yml", tmp_path)
    address = f"127.0.0.1:{ports['prometheus']}"
    run("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}")

    def asked(query):
        answer = get(f"http://{address}/api/v1/query", query=query)
        rows = answer.json()["data"]["result"] if answer is not None and answer.is_success else []
        return {(row["metric"].get("instance"), row["metric"].get("sink")): float(row["value"][1]) for row in rows}

    until(lambda: asked("up == 1") == {(target, None): 1.0 for target in targets})
    until(lambda: asked('birdwatch_alerts_waiting{sink="pager"}') == {(targets[0], "pager"): 1.0})
    until(lambda: asked('birdwatch_alerts_attempts_total{result="delivered"}') == {(targets[2], "stream"): 1.0})

    def firing():
        rows = get(f"http://{address}/api/v1/alerts").json()["data"]["alerts"]
        return {row["labels"]["alertname"] for row in rows if row["state"] == "firing"}

    until(lambda: "BirdwatchSinkDisabled" in firing())
    (group,) = get(f"http://{address}/api/v1/rules").json()["data"]["groups"]
    assert "err" not in {rule["health"] for rule in group["rules"]}
