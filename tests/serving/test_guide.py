"""The guide to runners is followed to the letter."""

import hashlib
import re
import shlex
from pathlib import Path

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from onnx import TensorProto, helper
from typer.testing import CliRunner

from birdwatch.cli.main import app
from birdwatch.health import Health
from birdwatch.records import Score, decode, encode
from birdwatch.serving.runner.runner import Runner
from birdwatch.streams import open_streams
from birdwatch.testing import a_request

GUIDE = (Path(__file__).parents[2] / "docs/guide/runners.md").read_text()
FEATURES = {"wind": 28.0, "distance": 800, "carrier": "UA"}


def command(words):
    (line,) = [line for line in GUIDE.splitlines() if line.startswith("birdwatch serve runner") and words in line]
    return shlex.split(line)[1:]


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Run a command of the guide, have it score one request, and give what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    first, second = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "models.py").write_text(first)
    address = f"sqlite:{tmp_path}/streams"

    def once(runner, stopping):
        streams = open_streams(address)
        streams.append("requests", [(b"", encode(a_request(features=FEATURES)))])
        assert runner.step(60.0) == 1
        runner.commit()
        streams.close()

    monkeypatch.setattr(Runner, "run", once)

    def scored(words, **replaced):
        arguments = [replaced.get(argument, argument) for argument in command(words)]
        result = CliRunner().invoke(app, [*arguments, "--streams", address])
        assert result.exit_code == 0, result.exception
        streams = open_streams(address)
        reader = streams.reader(["scores"])
        [*_, last] = reader.poll(timeout=0.0)
        reader.close()
        streams.close()
        return decode(last.value, Score)

    scored.train = lambda: exec(second, {})  # noqa: S102 - the guide's own words
    return scored


def test_functions_and_factories(score, tmp_path):
    assert score("models:slow_when_windy").score == 28 / 50
    (tmp_path / "threshold.txt").write_text("20")
    found = score("models:above")
    assert (found.model, found.score, found.output) == ("above", pytest.approx(0.8), {"threshold": 20.0})


def test_skops_and_pickles(score, tmp_path):
    score.train()
    model = skops.io.load(tmp_path / "late.skops")
    expected = model.predict_proba(pd.DataFrame({"wind": [28.0], "distance": [800]}))[0, 1]
    assert score("--target skops").score == pytest.approx(expected)
    joblib.dump(model, tmp_path / "late.pkl")
    sha256 = hashlib.sha256((tmp_path / "late.pkl").read_bytes()).hexdigest()
    found = score("--target pickle", **{'{"sha256": "..."}': f'{{"sha256": "{sha256}"}}'})
    assert found.score == pytest.approx(expected)


def test_onnx(score, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [onnx.numpy_helper.from_array(np.array([[1.0], [0.01]], dtype=np.float32), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(made, tmp_path / "net.onnx")
    assert score("--target onnx").score == pytest.approx(36.0)


def test_a_model_that_is_served_elsewhere(score, httpserver):
    answer = {"outputs": [{"name": "p", "shape": [1, 1], "datatype": "FP64", "data": [0.25]}]}
    httpserver.expect_request("/v2/models/late/infer", method="POST").respond_with_json(answer)
    url = httpserver.url_for("/v2/models/late")
    assert score("--target oip", **{"http://127.0.0.1:8080/v2/models/late": url}).score == 0.25


def test_the_metrics_it_names_are_those_that_are_shown(score, monkeypatch):
    shown = []

    class Seen(Health):
        def close(self):
            shown.append(self.answer("/metrics")[2].decode())
            super().close()

    monkeypatch.setattr("birdwatch.health.Health", Seen)
    score("models:slow_when_windy")
    for name in ("queue_seconds", "elapsed_seconds", "batch_size", "version_info", "scores", "errors"):
        assert f"birdwatch_runner_{name}" in shown[0]
        assert f"birdwatch_runner_{name}" in GUIDE or f"…_{name}" in GUIDE
