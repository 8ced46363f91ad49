"""The image is built for real, and the whole pipeline runs from it: a container each, any of which may be lost."""

import json
import runpy
import socket
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path

import pytest

from birdwatch.records import RECORDS, decode
from birdwatch.streams import open_streams
from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store

from .container_engine import Container, base, build, clean, inspect, missing
from .test_serving import archived, open_log, wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
USER = 10001
SCHEDULE = """
version: 1
deadline_seconds: 3
return_margin_seconds: 1
default: -1
canary: [canary]
tiers:
  - models: [champion]
  - models: [fallback]
    after_seconds: 0.7
"""
MODELS = ("champion", "challenger", "fallback")


@pytest.fixture(scope="module")
def debian():
    if reason := missing():
        pytest.skip(reason)
    return base()


@pytest.fixture(scope="module")
def image(debian):
    clean()
    yield build(debian)
    clean()


class Pipeline:
    """The parts in containers of their own; they share the network, the models and /data."""

    def __init__(self, image, folder):
        self.folder = folder
        self.address = f"sqlite:{folder}/data/streams"
        self._image = image
        (folder / "data").mkdir()
        (folder / "data").chmod(0o777)
        serve = ["--streams", "sqlite:streams"]
        scheduled = ["--schedule", "/etc/birdwatch/schedule.yaml", *serve]
        self.arguments = {
            "rendezvous": ["serve", "rendezvous", *scheduled],
            **{name: ["serve", "runner", "--model", name, "--target", f"payments:{name}", *serve] for name in MODELS},
            "canary": ["serve", "runner", "--model=canary", "--target=payments:canary", "--role=canary", *serve],
            "decoy": ["serve", "decoy", "--archive", "archive", "--flush-seconds", "0.5", *serve],
            "tail": ["tail", "--pane-seconds", "5", *serve],
            "dashboard": ["dashboard", "--no-browser"],
            "gateway": ["serve", "gateway", *scheduled],
        }
        self.containers = {}
        for name, port in zip(self.arguments, free_ports(len(self.arguments)), strict=True):
            if name != "tail":
                own = name in {"gateway", "dashboard"}
                self.arguments[name] += ["--port" if own else "--health-port", str(port)]
            path = "_stcore/health" if name == "dashboard" else "healthz"
            self.containers[name] = self._container(name, f"http://127.0.0.1:{port}/{path}")
            if name == "gateway":
                self.port = port

    def _container(self, name, health):
        scratch = self.folder / f"tmp-{name}"
        scratch.mkdir()
        scratch.chmod(0o1777)
        volumes = {
            "/data": self.folder / "data",
            "/tmp": scratch,  # noqa: S108 - in the container, and its own
            "/models:ro": ROOT / "containers" / "models",
            "/etc/birdwatch:ro": self.folder / "etc",
        }
        (self.folder / "etc").mkdir(exist_ok=True)
        (self.folder / "etc" / "schedule.yaml").write_text(SCHEDULE)
        return Container(self._image, volumes, {"HEALTH_URL": health, "BIRDWATCH_IDLE_SECONDS": "5"})

    def start(self, *names):
        """Start some parts at the same time, and wait until each says that it is ready."""
        logs = {name: self.folder / f"{name}.log" for name in names}
        said = {name: self.containers[name].start(*self.arguments[name], log=logs[name]) for name in names}
        for name, lines in said.items():
            if "ready\n" not in iter(lines.readline, ""):
                pytest.fail(f"{name} did not start: {logs[name].read_text()}")

    def kill_all(self):
        for container in self.containers.values():
            container.kill()

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
        while polled := reader.poll(timeout=0.0):
            found += [decode(message.value, RECORDS[stream]) for message in polled]
        reader.close()
        streams.close()
        return found


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def payment(number):
    return {"amount": 7.0 * number, "hour": number % 24, "years": number % 9}


class Clients:
    """Ask from some threads at once, each again with the same id until there is an answer."""

    def __init__(self, port, threads=8, pause=0.03):
        self.replies = {}
        self.again = set()
        self._port = port
        self._pause = pause
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

    def wait_for_more(self, number):
        before = len(self.replies)
        wait_for(lambda: len(self.replies) >= before + number, seconds=60)

    def _ask(self):
        while not self._stop.is_set():
            number = next(self._numbers)
            body = json.dumps({"id": f"r{number}", "features": payment(number)})
            while (reply := self._try(body)) is None:
                self.again.add(f"r{number}")  # the gateway is dead: its successor knows what was answered
                time.sleep(0.05)
            self.replies[f"r{number}"] = reply
            time.sleep(self._pause)

    def _try(self, body):
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", "/v1/score", body)
            response = connection.getresponse()
            reply = json.loads(response.read())
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        assert response.status == 200, reply
        return reply


@pytest.fixture
def pipeline(image, tmp_path):
    made = Pipeline(image, tmp_path)
    yield made
    made.kill_all()


def test_the_image_says_what_it_is_and_how_it_is_asked_for_its_health(image):
    said = inspect(image)
    assert said["User"] == f"{USER}:{USER}"
    assert said["Entrypoint"] == ["birdwatch"]
    assert said["Healthcheck"]["Test"][0] == "CMD"
    assert said["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_its_user_can_write_nothing_but_data_and_scratch(image):
    container = Container(image, read_only=False)
    code, said = container.execute(
        "sh", "-c", "id -u; find / -xdev '(' -type f -o -type d ')' -writable 2> /dev/null; true"
    )
    user, *writable = said.split()
    assert (code, user) == (0, str(USER))
    assert set(writable) <= {"/data", "/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - the last two are any Debian's


def test_it_holds_all_of_birdwatch_and_nothing_to_build_with(image, root):
    container = Container(image)
    assert container.execute(
        "sh", "-c", "for tool in gcc cc c++ g++ clang make ld as; do command -v $tool; done; true"
    ) == (0, "")
    code, said = container.execute("python", "-I", "-c", (root / ".ci/import_every_module.py").read_text())
    assert code == 0, said


def test_any_container_may_be_lost_while_a_thousand_requests_are_answered(pipeline):
    pipeline.start(*pipeline.arguments)
    check = inspect(pipeline._image)["Healthcheck"]["Test"][1:]
    for name, container in pipeline.containers.items():
        if name != "tail":
            assert container.execute(*check) == (0, ""), name
    with Clients(pipeline.port) as clients:
        for victim in pipeline.arguments:
            clients.wait_for_more(80)
            pipeline.containers[victim].kill()
            if victim != "tail":
                assert pipeline.containers[victim].execute(*check)[0] == 1, "it says that it is well"
            time.sleep(0.5)
            pipeline.start(victim)
        clients.wait_for_more(max(80, 1000 - len(clients.replies)))
    check_answers(pipeline, clients)
    asked = set(clients.replies)
    wait_for(
        lambda: {(s.request_id, s.model) for s in pipeline.read("scores")} == {(r, m) for r in asked for m in MODELS}
    )
    wait_for(lambda: {s.request_id for s in pipeline.read("canary")} == asked)

    # What is in the archive is what the models saw, byte for byte; asked to end, the decoy writes what it still holds.
    assert pipeline.containers["decoy"].stop() == 0
    with open_log(pipeline) as log:
        rows = {row for file in (pipeline.folder / "data/archive").rglob("*.parquet") for row in archived(file)}
        assert sorted(rows) == [(message.offset, message.value) for message in log]

    # The tail, killed as well, has lost nothing and counted nothing twice.
    assert pipeline.containers["tail"].stop() == 0
    code, said = pipeline.containers["tail"].execute("birdwatch", *pipeline.arguments["tail"], "--until-end")
    assert code == 0, said
    store = Store(pipeline.folder / "data/birdwatch.db", readonly=True)
    for model in MODELS:
        assert store.pane(0, 2**40, model=model)[Series("score", model, "1")].counts.sum() == len(asked)
    store.close()


def check_answers(pipeline, clients):
    """Each request has one answer, the first Result in the log; in time, unless the gateway was dead."""
    wait_for(lambda: pipeline.count("metrics") >= len(clients.replies))
    models = runpy.run_path(str(ROOT / "containers/models/payments.py"))
    decisions = {decision.request_id: decision for decision in pipeline.read("metrics")}
    first = {}
    for result in pipeline.read("results"):
        first.setdefault(result.request_id, result)
    assert sorted(r.id for r in pipeline.read("requests")) == sorted(clients.replies) == sorted(decisions)
    assert pipeline.count("metrics") == len(decisions)
    for request_id, reply in clients.replies.items():
        result, asked = first[request_id], payment(int(request_id[1:]))
        assert (reply["id"], reply["model"], reply["score"]) == (request_id, result.model, result.score)
        expected = -1.0 if result.model == "default" else models[result.model]([asked])[0]
        assert reply["score"] == pytest.approx(expected, rel=1e-12)
        assert (decisions[request_id].model, decisions[request_id].reason) == (result.model, result.reason)
        assert reply["within_sla"] or request_id in clients.again, reply
    answered_by = Counter(reply["model"] for reply in clients.replies.values())
    assert set(answered_by) <= {"champion", "fallback", "default"}
    assert answered_by["champion"] > 0.5 * len(clients.replies)
    assert answered_by["fallback"] > 0, "while the champion was lost"
