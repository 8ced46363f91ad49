"""A client that is not ours asks the gateway by the Open Inference Protocol: Triton's own, against real processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from birdwatch.records import Control, Request, as_token, decode, encode
from birdwatch.streams import open_streams

pytestmark = pytest.mark.integration

MODELS = """
def double(batch):
    return [2.0 * row["x"] if row["carrier"] != "??" else row["missing"] for row in batch]

def minus(batch):
    return [-row["x"] for row in batch]

class Counting:
    def __init__(self, config=None):
        self.n, self.tag = 0, (config or {}).get("tag", "old")
    def __call__(self, features, ts):
        self.n += 1
        return {**features, "n": self.n, "by": self.tag}
    def snapshot(self):
        return {"n": self.n}
    def restore(self, state):
        self.n = state["n"]
    def observe(self, features, ts):
        self.n += 1
"""
SCHEDULE = """
version: 7
deadline_seconds: 3
return_margin_seconds: 1
default: -1
canary: [bird]
tiers:
  - models: [champion]
overrides:
  - name: "to Lexington"
    when: {dest: LEX}
    model: minus
"""
GATEWAY = ["gateway", "--schedule", "schedule.yaml", "--port", "0", "--features", "models:Counting"]
RENDEZVOUS = ["rendezvous", "--schedule", "schedule.yaml"]
CHAMPION = ["runner", "--model", "champion", "--target", "models:double"]
MINUS = ["runner", "--model", "minus", "--target", "models:minus"]


class Place:
    """A folder with streams, and the processes that were started in it."""

    def __init__(self, folder):
        self.folder = folder
        self.address = f"sqlite:{folder}/streams"
        self.processes = []
        self.url = ""
        (folder / "models.py").write_text(MODELS)
        (folder / "schedule.yaml").write_text(SCHEDULE)

    def start(self, *parts):
        """Start parts at the same time, and wait until each says that it is ready."""
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "birdwatch", "serve", *arguments, "--streams", self.address],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments in parts
        ]
        self.processes += started
        for process in started:
            for line in process.stdout:
                if line.startswith("listening on "):
                    self.url = line.split()[-1]
                if line == "ready\n":
                    break
            else:
                pytest.fail(f"{process.args} did not start: {process.stderr.read()}")
        return started[0]

    def stop(self, process, number=signal.SIGTERM):
        self.processes.remove(process)
        process.send_signal(number)
        _, complained = process.communicate(timeout=30)
        return process.returncode, complained

    def requests(self):
        """Give what lies on `requests`: the records, and tokens by their name."""
        values = self.values("requests")
        tokens = [as_token(value) for value in values]
        return [token.token if token else decode(value, Request) for value, token in zip(values, tokens, strict=True)]

    def controls(self):
        return [decode(value, Control) for value in self.values("control")]

    def values(self, stream):
        with closing(open_streams(self.address)) as streams, closing(streams.reader([stream])) as reader:
            return [message.value for message in reader.poll(limit=10**6, timeout=0.0)]

    def control(self, **fields):
        with closing(open_streams(self.address)) as streams:
            streams.append("control", [(b"", encode(Control(ts=time.time(), author="ann", reason="a test", **fields)))])


@pytest.fixture
def place(tmp_path):
    yield from a_place(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A whole pipeline, asked by several tests."""
    for made in a_place(tmp_path_factory.mktemp("shared")):
        made.start(GATEWAY, RENDEZVOUS, CHAMPION, MINUS)
        # The fleet knows of a model when it is registered.
        made.control(action="register", model="minus", version="1")
        with httpx.Client(timeout=10) as http:
            wait_for(lambda: http.get(f"{made.url}/v2/models/minus").status_code == 200)  # noqa: B023 - there is one
        yield made


def a_place(folder):
    made = Place(folder)
    try:
        yield made
    finally:
        for process in list(made.processes):
            made.stop(process, signal.SIGKILL)


@pytest.fixture
def client(shared):
    made = InferenceServerClient(shared.url.removeprefix("http://"), network_timeout=30.0)
    yield made
    made.close()


def wait_for(condition):
    for _ in range(400):
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail("it did not come about in 20 seconds")


def tensor(name, values, datatype, *, binary):
    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def flights(xs, carriers, *, binary, dest="SFO"):
    texts = np.array([carrier.encode() for carrier in carriers], dtype=np.object_)
    return [
        tensor("x", np.array(xs, dtype=np.float32), "FP32", binary=binary),
        tensor("carrier", texts, "BYTES", binary=binary),
        tensor("dest", np.array([dest.encode()] * len(xs), dtype=np.object_), "BYTES", binary=binary),
    ]


def test_it_finds_a_server_that_is_live_and_ready_and_models_that_say_what_they_are(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("birdwatch")
    assert client.is_model_ready("champion")
    assert client.is_model_ready("birdwatch", "7")
    assert not client.is_model_ready("birdwatch", "8")
    assert not client.is_model_ready("bird")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    said = client.get_model_metadata("birdwatch")
    assert (said["name"], said["versions"]) == ("birdwatch", ["7"])
    with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
        client.get_model_metadata("nobody")


@pytest.mark.parametrize("binary", [True, False])
def test_rows_are_scored_whether_they_come_and_go_as_bytes_or_as_json(shared, client, binary):
    outputs = None
    if not binary:
        outputs = [InferRequestedOutput(name, binary_data=False) for name in ("score", "model", "tier")]
    found = client.infer(
        "birdwatch",
        flights([0.1, -2.0, 3.5], ["UA", "Ünited", ""], binary=binary),
        request_id=f"f{binary}",
        outputs=outputs,
        parameters={"ts": 1_368_532_800.0, "key": "k"},
    )
    assert found.get_response()["id"] == f"f{binary}"
    assert found.as_numpy("score").dtype == np.float64
    assert found.as_numpy("score").tolist() == [2 * float(np.float32(0.1)), -4.0, 7.0]
    assert found.as_numpy("tier").tolist() == [0, 0, 0]
    models = found.as_numpy("model").tolist()
    assert [each.decode() if isinstance(each, bytes) else each for each in models] == ["champion"] * 3
    assert (found.as_numpy("reason") is None) == (not binary)
    logged = [request for request in shared.requests() if request.id.startswith(f"f{binary}")]
    assert [(r.id, r.key, r.ts) for r in logged] == [(f"f{binary}/{i}", "k", 1_368_532_800.0) for i in range(3)]
    assert [r.features["carrier"] for r in logged] == ["UA", "Ünited", ""]


def test_a_models_name_forces_it_and_so_does_a_rule(client):
    asked = flights([1.0, 2.0], ["UA", "UA"], binary=True)
    forced = client.infer("minus", asked, model_version="1")
    assert forced.as_numpy("score").tolist() == [-1.0, -2.0]
    assert forced.as_numpy("reason").tolist() == [b"override"] * 2
    by_rule = client.infer("birdwatch", flights([3.0], ["UA"], binary=True, dest="LEX"))
    assert (by_rule.as_numpy("model")[0], by_rule.as_numpy("score")[0]) == (b"minus", -3.0)


def test_what_is_refused_is_said_to_the_client(client):
    with pytest.raises(InferenceServerException, match=r"\[404\] 'bird' is the canary"):
        client.infer("bird", flights([1.0], ["UA"], binary=True))
    with pytest.raises(InferenceServerException, match=r"\[422\] inputs, 'x': data\[1\] is nan"):
        client.infer("birdwatch", flights([1.0, np.nan], ["UA", "UA"], binary=True))
    with pytest.raises(InferenceServerException, match=r"\[413\] .*300 rows are more than the 256"):
        client.infer("birdwatch", flights([1.0] * 300, ["UA"] * 300, binary=True))


def test_a_swap_of_a_plug_in_with_state_survives_kill_9_and_no_request_is_counted_twice(place):
    gateway = place.start(GATEWAY, RENDEZVOUS, CHAMPION)

    def ask(n):
        for _ in range(n):
            body = {"features": {"x": 1, "carrier": "UA"}}
            assert http.post(f"{place.url}/v1/score", json=body).json()["score"] == 2.0

    with httpx.Client(timeout=10) as http:
        ask(5)
        place.stop(gateway, signal.SIGKILL)
        gateway = place.start(GATEWAY)
        ask(5)
        params = {"component": "features", "token": "t1", "target": "models:Counting", "config": {"tag": "new"}}
        place.control(action="swap", params=params)
        wait_for(lambda: ask(1) or "t1" in place.requests())
        place.stop(gateway, signal.SIGKILL)
        place.start(GATEWAY)
        ask(5)
    logged = place.requests()
    cut = logged.index("t1")
    assert logged.count("t1") == 1
    requests = [each for each in logged if each != "t1"]
    assert [r.features["n"] for r in requests] == list(range(1, len(requests) + 1))
    assert {r.features["by"] for r in logged[:cut]} == {"old"}
    assert {r.features["by"] for r in logged[cut + 1 :]} == {"new"}
    assert place.values("deadletters") == []  # runner and rendezvous pass the token by
    [done] = [control for control in place.controls() if control.action == "swapped"]
    assert done.params == {"component": "features", "token": "t1", "by": "gateway", "at": {"0": cut}}


def test_asked_to_stop_it_answers_what_is_in_flight_and_ends_with_0(place):
    gateway = place.start(GATEWAY)  # without models: what is asked waits for the default
    with ThreadPoolExecutor() as pool, httpx.Client(timeout=10) as http:
        asked = pool.submit(httpx.post, f"{place.url}/v1/score", json={"features": {}, "id": "last"}, timeout=10)
        wait_for(place.requests)
        gateway.send_signal(signal.SIGTERM)
        wait_for(lambda: http.get(f"{place.url}/readyz").status_code == 503)
        assert http.post(f"{place.url}/v1/score", json={"features": {}}).status_code == 503
        assert asked.result().json()["reason"] == "default"
    assert gateway.wait(timeout=30) == 0


GUIDE = (Path(__file__).parents[2] / "docs/guide/gateway.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guide_is_followed_to_the_letter(place):
    for text in blocks("python"):
        (place.folder / text.split("\n")[0].removeprefix("# ")).write_text(text)
    flights2 = (place.folder / "flights.py").read_text().replace('"seen": ', '"swapped": 1, "seen": ')
    (place.folder / "flights2.py").write_text(flights2)
    (place.folder / "schedule.yaml").write_text(blocks("yaml")[0])
    serve, v1, v2, swap = blocks("sh")
    place.start(*[shlex.split(line.replace("8080", "0"))[2:] for line in serve.splitlines()])
    port = place.url.rpartition(":")[2]

    def sh(text):
        done = subprocess.run(  # noqa: S602 - as a reader would
            text.replace("8080", port),
            shell=True,
            cwd=place.folder,
            env={
                **os.environ,
                "BIRDWATCH_STREAMS": place.address,
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = json.loads(wait_for(lambda: (said := sh(v1)) and '"first choice"' in said and said))
    seen = len(place.requests()) - 1
    assert first["score"] == pytest.approx(0.1 + 0.05 * seen + 0.2)
    metadata, answer = [json.loads(sh(line)) for line in v2.splitlines()]
    assert metadata["name"] == "birdwatch"
    scores = answer["outputs"][0]["data"]
    assert scores == pytest.approx([0.1 + 0.05 * (seen + 1) + 0.2, 0.1 + 0.35])
    (place.folder / "ask.py").write_text((place.folder / "ask.py").read_text().replace("8080", port))
    assert sh(f"{sys.executable} ask.py").endswith("[b'late' b'late']\n")
    sh(swap)
    wait_for(lambda: [control for control in place.controls() if control.action == "swapped"])
    after = json.loads(sh(v1))
    assert after["score"] == pytest.approx(0.1 + 0.05 * (seen + 3) + 0.2)
    assert place.requests()[-1].features["swapped"] == 1
