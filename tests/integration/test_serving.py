"""The serving pipeline as it runs in production: a process each, over SQLite streams, some of which die."""

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from itertools import count

import httpx
import pyarrow.parquet as pq
import pytest

from birdwatch.records import RECORDS, as_token, decode
from birdwatch.serving.horizon import catch_up
from birdwatch.streams import open_streams

pytestmark = pytest.mark.integration

MODELS = """
import os, time

def same(batch):
    return [row["x"] for row in batch]

def plus_wind(batch):
    return [row["x"] + row["wind"] for row in batch]

def never(batch):
    while True:
        time.sleep(0.1)

def dies_once(batch):
    if os.path.exists("poison"):
        os.remove("poison")
        os.abort()
    return [row["x"] for row in batch]

def weather(config):
    return lambda features, ts: {**features, "wind": config["wind"]}
"""
SCHEDULE = """
version: 1
deadline_seconds: 3
return_margin_seconds: 1
default: -1
canary: [bird]
tiers:
  - models: [champion]
  - models: [cheap]
    after_seconds: 0.7
"""
PARTS = {
    "gateway": [
        "--schedule",
        "schedule.yaml",
        "--port",
        "0",
        "--features=models:weather",
        '--features-config={"wind": 5}',
    ],
    "rendezvous": ["--schedule", "schedule.yaml"],
    "decoy": ["--archive", "archive", "--flush-seconds", "0.5"],
    "champion": ["--model", "champion", "--target", "models:same"],
    "cheap": ["--model", "cheap", "--target", "models:plus_wind"],
    "bird": ["--model", "bird", "--target", "models:same", "--role", "canary"],
}

ROLES = {
    "gateway": "gateway",
    "other": "gateway",
    "rendezvous": "rendezvous",
    "second": "rendezvous",
    "helper": "rendezvous",
    "decoy": "decoy",
}


class Pipeline:
    """The processes, each under its name, in a folder of their own; the streams too, unless they are elsewhere."""

    def __init__(self, folder, address=None):
        self.folder = folder
        self.address = address or f"sqlite:{folder}/streams"
        self.processes = {}
        self.url = None
        (folder / "models.py").write_text(MODELS)
        (folder / "schedule.yaml").write_text(SCHEDULE)

    def run(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "birdwatch", *arguments, "--streams", self.address],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *names, **others):
        """Start some parts at the same time, and wait until each says that it is ready."""
        for name in (*names, *others):
            part = ROLES.get(name, "runner")
            self.processes[name] = self.run("serve", part, *(others.get(name) or PARTS[name]))
        for name in (*names, *others):
            for line in self.processes[name].stdout:
                if line.startswith("listening on "):
                    self.url = line.split()[-1]
                if line == "ready\n":
                    break
            else:
                pytest.fail(f"{name} did not start: {self.processes[name].stderr.read()}")

    def stop(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        said, complained = process.communicate(timeout=30)
        return process.returncode, said, complained

    def kill_all(self):
        for name in list(self.processes):
            self.stop(name, signal.SIGKILL)

    def deploy(self, *arguments):
        with self.run("deploy", *arguments, "--reason", "a test", "--author", "ann") as process:
            assert process.wait(timeout=30) == 0

    def count(self, stream):
        """Count the messages of a stream."""
        streams = open_streams(self.address)
        ends = streams.ends([stream])
        streams.close()
        return sum(ends.values())

    def read(self, stream):
        """Give all records of a stream."""
        streams = open_streams(self.address)
        reader, found = streams.reader([stream]), []
        for messages in catch_up(streams, reader, [stream]):
            found += [decode(m.value, RECORDS[stream]) for m in messages if as_token(m.value) is None]
        reader.close()
        streams.close()
        return found


@pytest.fixture
def pipeline(tmp_path):
    made = Pipeline(tmp_path)
    yield made
    made.kill_all()


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)
    return found


class Clients:
    """Ask from some threads at once, each again with the same id until there is an answer."""

    def __init__(self, pipeline, threads=4, pause=0.05):
        self.replies = {}
        self._pause = pause
        self._pipeline = pipeline
        self._numbers = count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        while not self._stop.is_set():
            x = next(self._numbers)
            while not (reply := self._try(f"r{x}", x)):
                time.sleep(0.02)  # the gateway is dead: its successor knows what was answered
            self.replies[f"r{x}"] = reply
            time.sleep(self._pause)

    def _try(self, request_id, x):
        host, port = self._pipeline.url.removeprefix("http://").split(":")
        # Not httpx: a client of it takes a tenth of a second to make.
        connection = HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("POST", "/v1/score", json.dumps({"id": request_id, "features": {"x": x}}))
            response = connection.getresponse()
            reply = json.loads(response.read())
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        assert response.status == 200, reply
        return reply


def first_results(pipeline):
    first = {}
    for result in pipeline.read("results"):
        first.setdefault(result.request_id, result)
    return first


def check(pipeline, replies):
    """Nothing lost, nothing doubled, nothing mixed up: every client has the first Result in the log."""
    wait_for(lambda: pipeline.count("metrics") >= len(replies))
    requests = pipeline.read("requests")
    assert sorted(r.id for r in requests) == sorted(replies)
    assert sorted(d.request_id for d in pipeline.read("metrics")) == sorted(replies)
    first = first_results(pipeline)
    for request_id, reply in replies.items():
        result, x = first[request_id], float(request_id[1:])
        assert (reply["id"], reply["model"], reply["score"]) == (request_id, result.model, result.score)
        assert reply["score"] == {"champion": x, "cheap": x + 5, "default": -1.0}[result.model]
    for decision in pipeline.read("metrics"):
        result = first[decision.request_id]
        assert (decision.model, decision.reason) == (result.model, result.reason)
        assert decision.within_sla == (result.latency_seconds <= 3.0)


def test_requests_go_through_all_parts_and_the_counts_reconcile(pipeline):
    pipeline.start(*PARTS)
    with Clients(pipeline, 32, pause=0.0) as clients:
        wait_for(lambda: len(clients.replies) >= 200)
    check(pipeline, clients.replies)
    n = len(clients.replies)
    assert {r["within_sla"] for r in clients.replies.values()} == {True}
    wait_for(lambda: pipeline.count("scores") >= 2 * n and pipeline.count("canary") >= n)
    assert Counter(s.model for s in pipeline.read("scores")) == {"champion": n, "cheap": n}
    assert Counter(s.model for s in pipeline.read("canary")) == {"bird": n}
    assert "bird" not in {r["model"] for r in clients.replies.values()}
    assert {r.features["wind"] for r in pipeline.read("requests")} == {5}

    # Asked to, each ends by itself with code 0, and the decoy has archived what the models saw.
    for name in PARTS:
        code, _, complained = pipeline.stop(name)
        assert (code, complained) == (0, "")
    with open_log(pipeline) as log:
        rows = [row for file in sorted((pipeline.folder / "archive").rglob("*.parquet")) for row in archived(file)]
        assert sorted(rows) == [(m.offset, m.value) for m in log]


class open_log:  # noqa: N801 - reads like the function it stands for
    """All messages on `requests`."""

    def __init__(self, pipeline):
        self._streams = open_streams(pipeline.address)

    def __enter__(self):
        self._reader = self._streams.reader(["requests"])
        return self._reader.poll(limit=10**6, timeout=0.0)

    def __exit__(self, *_):
        self._reader.close()
        self._streams.close()


def archived(file):
    return [(row["offset"], row["value"]) for row in pq.read_table(file, partitioning=None).to_pylist()]


@pytest.mark.parametrize("victim", ["champion", "rendezvous", "gateway", "decoy"])
def test_killed_with_9_at_random_moments_no_request_is_lost_or_answered_twice(pipeline, victim):
    chance = random.Random(victim)
    pipeline.start(*PARTS)
    with Clients(pipeline) as clients:
        for _ in range(3):
            before = len(clients.replies)
            wait_for(lambda before=before: len(clients.replies) >= before + 20)
            time.sleep(chance.uniform(0, 0.2))
            pipeline.stop(victim, signal.SIGKILL)
            time.sleep(chance.uniform(0, 1))
            pipeline.start(victim)
        before = len(clients.replies)
        wait_for(lambda: len(clients.replies) >= before + 20)
    check(pipeline, clients.replies)
    if victim != "gateway":  # the time before the next gateway is there is the client's to count
        assert {r["within_sla"] for r in clients.replies.values()} == {True}
    # What the runner had not scored when it was killed, it scores afterwards.
    wait_for(lambda: {s.request_id for s in pipeline.read("scores") if s.model == "champion"} == set(clients.replies))
    if victim == "decoy":
        code, _, _ = pipeline.stop("decoy")
        assert code == 0
        rows = {row for file in (pipeline.folder / "archive").rglob("*.parquet") for row in archived(file)}
        assert sorted(offset for offset, _ in rows) == list(range(len(clients.replies)))


def test_with_the_rendezvous_dead_the_gateway_answers_the_default_in_time(pipeline):
    pipeline.start("gateway")
    with Clients(pipeline) as clients:
        wait_for(lambda: len(clients.replies) >= 4)
    replies = list(clients.replies.values())
    assert {(r["model"], r["reason"], r["tier"], r["within_sla"]) for r in replies} == {
        ("default", "default", -1, True)
    }
    pipeline.start("rendezvous")  # it finds them answered, and only tells
    check(pipeline, clients.replies)
    assert len(pipeline.read("results")) == len(clients.replies)


def test_a_model_that_takes_too_long_is_not_waited_for_and_its_runner_ends_clean(pipeline):
    champion = ["--model", "champion", "--target", "models:never", "--timeout-seconds", "0.1"]
    pipeline.start("gateway", "rendezvous", "cheap", champion=champion)
    with Clients(pipeline) as clients:
        wait_for(lambda: len(clients.replies) >= 40)
    check(pipeline, clients.replies)
    assert {r["model"] for r in clients.replies.values()} == {"cheap"}
    reasons = Counter(r["reason"] for r in clients.replies.values())
    assert reasons["all failed"] >= 0.9 * len(clients.replies)
    errors = Counter(s.error.partition(" with ")[0] for s in pipeline.read("scores") if s.model == "champion")
    assert set(errors) == {"the model took longer than 0.1 s", "the model is still busy"}
    code, _, complained = pipeline.stop("champion")
    assert (code, complained) == (0, "")


def test_a_version_is_deployed_and_rolled_back_without_a_restart(pipeline):
    pipeline.start("gateway", "rendezvous", "champion")

    def ask():
        with httpx.Client(timeout=10) as http:
            body = {"features": {"x": 2}}
            return wait_for(
                lambda: [r for r in [http.post(f"{pipeline.url}/v1/score", json=body).json()] if r["tier"] == 0]
            )[0]

    assert (ask()["version"], ask()["score"]) == ("1", 2.0)
    pipeline.deploy("register", "champion", "2", "--in-place", "--target", "models:plus_wind")
    # Until it is loaded the one before it serves.
    assert wait_for(lambda: [r for r in [ask()] if r["version"] == "2"])[0]["score"] == 7.0
    pipeline.deploy("register", "champion", "3", "--in-place", "--target", "models:not_there")
    assert ask()["version"] == "2"
    pipeline.deploy("rollback", "champion", "2", "--to", "1")
    assert (ask()["version"], ask()["score"]) == ("1", 2.0)
    pipeline.deploy("retire", "champion")
    assert pipeline.processes["champion"].wait(timeout=30) == 0


def test_a_model_that_kills_its_process_loses_no_request(pipeline):
    champion = ["--model", "champion", "--target", "models:dies_once"]
    pipeline.start("gateway", "rendezvous", champion=champion)
    (pipeline.folder / "poison").touch()
    reply = httpx.post(f"{pipeline.url}/v1/score", json={"features": {"x": 7}}, timeout=10).json()
    assert reply["reason"] == "default"
    victim = pipeline.processes.pop("champion")
    assert victim.wait(timeout=30) == -signal.SIGABRT
    victim.communicate()
    pipeline.start(champion=champion)
    wait_for(lambda: [s.score for s in pipeline.read("scores")] == [7.0])
    assert len(pipeline.read("results")) == 1


def test_a_taken_port_ends_with_code_2_and_the_remedy(pipeline):
    pipeline.start("gateway")
    port = re.search(r":(\d+)$", pipeline.url)[1]
    with pipeline.run("serve", "gateway", "--schedule", "schedule.yaml", "--port", port) as second:
        _, complained = second.communicate(timeout=30)
    assert second.returncode == 2
    assert complained.startswith(f"birdwatch: port {port} on 127.0.0.1 cannot be used: Address already in use")
    assert "--port" in complained


def test_every_process_tells_its_health(pipeline):
    with ExitStack() as stack:
        for name in ("rendezvous", "decoy", "champion"):
            part = name if name != "champion" else "runner"
            process = stack.enter_context(pipeline.run("serve", part, *PARTS[name], "--health-port", "0"))
            stack.callback(process.terminate)
            url = process.stdout.readline().split()[-1]
            assert process.stdout.readline() == "ready\n"
            assert httpx.get(f"{url}/healthz").text == "ok\n"
            wait_for(lambda url=url: httpx.get(f"{url}/readyz").text == "ready\n")
            assert httpx.get(f"{url}/metrics").status_code == 200
