"""A runner in front of a model that is served elsewhere: a real server of the Open Inference Protocol, which dies and comes back."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest

from birdwatch.records import Score, decode, encode
from birdwatch.serving.runner.model import Spec, load_model
from birdwatch.streams import open_streams
from birdwatch.testing import a_request

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MLSERVER = "mlserver==1.7.1"
RUNTIME = """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput

class Sum(MLModel):
    async def predict(self, payload):
        columns = {one.name: list(one.data) for one in payload.inputs}
        sums = [x + 2 * y for x, y in zip(columns["x"], columns["y"], strict=True)]
        score = ResponseOutput(name="score", shape=[len(sums), 1], datatype="FP64", data=sums)
        return InferenceResponse(model_name=self.name, outputs=[score])
"""


@pytest.fixture(scope="module")
def mlserver():
    """The program, in an environment of its own that is made once: it wants other versions than we do."""
    place = ROOT / ".cache" / MLSERVER
    program = place / "bin" / "mlserver"
    if not (place / "complete").exists():
        uv = shutil.which("uv") or Path(sys.executable).with_name("uv")
        shutil.rmtree(place, ignore_errors=True)
        made = ["venv", "--quiet", "--python", sys.executable, place]
        filled = ["pip", "install", "--quiet", "--python", place / "bin" / "python", MLSERVER]
        for command in (made, filled):
            done = subprocess.run([uv, *command], capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                pytest.skip(f"{MLSERVER} cannot be installed: {done.stderr.strip()[-500:]}")
        (place / "complete").touch()
    return program


def free_ports(n):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


@pytest.fixture
def server(mlserver, tmp_path):
    """Give what starts the server, as often as one likes, on the same port."""
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), free_ports(3), strict=True))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "runtime.py").write_text(RUNTIME)
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "sum", "implementation": "runtime.Sum"}))

    @contextmanager
    def running():
        with (tmp_path / "mlserver.log").open("a") as log:
            process = subprocess.Popen([mlserver, "start", folder], cwd=folder, stdout=log, stderr=log)
        try:
            wait_for(lambda: process.poll() is not None or ready(running.url), 60)
            assert process.poll() is None, (tmp_path / "mlserver.log").read_text()
            yield process
        finally:
            process.kill()
            process.wait()

    running.url = f"http://127.0.0.1:{ports['http_port']}/v2/models/sum"
    return running


def ready(url):
    try:
        return httpx.get(f"{url}/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def runner(tmp_path, address, url):
    command = ["serve", "runner", "--model", "remote", "--target", "oip", "--artifact", url, "--health-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "birdwatch", *command, "--streams", address],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("BIRDWATCH_")},
    )
    try:
        process.health = process.stdout.readline().split()[-1]
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


class Asks:
    """Puts requests on the streams, and reads what the runner says to them."""

    def __init__(self, address):
        self._streams = open_streams(address)
        self._reader = self._streams.reader(["scores"])
        self._numbers = count()
        self.scores = {}

    def ask(self, n=1):
        ids = [f"r{next(self._numbers)}" for _ in range(n)]
        requests = [a_request(id=one, features={"x": int(one[1:]), "y": 0.25}) for one in ids]
        self._streams.append("requests", [(r.id.encode(), encode(r)) for r in requests])
        wait_for(lambda: self._read() or set(ids) <= set(self.scores))
        return [self.scores[one] for one in ids]

    def _read(self):
        for message in self._reader.poll(timeout=0.0):
            score = decode(message.value, Score)
            assert score.request_id not in self.scores
            self.scores[score.request_id] = score

    def close(self):
        self._reader.close()
        self._streams.close()


def expected(scores):
    return [float(score.request_id[1:]) + 0.5 for score in scores]


def test_a_remote_model_dies_and_comes_back_and_no_request_is_lost(server, tmp_path):
    address = f"sqlite:{tmp_path}/streams"
    asks = Asks(address)
    with runner(tmp_path, address, server.url) as process:
        with server():
            first = asks.ask(20)
            assert [s.score for s in first] == expected(first)
            [refused] = load_model(Spec("1", "oip", f"{server.url}s"))([{"x": 1}])
            assert f"{server.url}s/infer answered 404 Not Found" in refused.error
        dead = asks.ask(20)
        assert [s.score for s in dead] == [None] * 20
        assert {s.error for s in dead} == {f"{server.url}/infer cannot be reached: [Errno 111] Connection refused"}
        with server():
            again = asks.ask(20)
            assert [s.score for s in again] == expected(again)
        shown = httpx.get(f"{process.health}/metrics").text
        assert 'birdwatch_runner_scores_total{model="remote"} 40.0' in shown
        assert 'birdwatch_runner_errors_total{model="remote"} 20.0' in shown
        assert httpx.get(f"{process.health}/readyz").text == "ready\n"
        process.terminate()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
    assert sorted(asks.scores) == sorted(f"r{i}" for i in range(60))
    asks.close()
