import math

import numpy as np
import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.model import Answer, Spec, load_model, score_batch
from birdwatch.serving.plugins import find_callable

MODULE = """
import pathlib
def score(batch):
    return [row["x"] for row in batch]

def factory(path):
    offset = float(pathlib.Path(path).read_text())
    return lambda batch: [row["x"] + offset for row in batch]

def broken(path):
    return 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"plugin_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_function_is_found_in_the_working_directory(module):
    assert load_model(Spec("1", f"{module}:score"))([{"x": 2}]) == [2]


def test_a_factory_is_given_the_artifact(module, tmp_path):
    (tmp_path / "offset").write_text("10")
    model = load_model(Spec("1", f"{module}:factory", str(tmp_path / "offset")))
    assert model([{"x": 2}]) == [12.0]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec("1", "nowhere_at_all:score"), "cannot be imported"),
        (Spec("1", "math:nothing"), "no 'nothing'"),
        (Spec("1", "math:pi"), "not a function"),
        (Spec("1", "math"), "module:function"),
        (Spec("1", "{module}:factory", "missing.skops"), "FileNotFoundError"),
        (Spec("1", "{module}:broken", "any"), "int, not a callable"),
    ],
)
def test_what_cannot_be_loaded_is_named(module, spec, words):
    spec = spec._replace(target=spec.target.format(module=module))
    with pytest.raises(ServingError, match=words):
        load_model(spec)


def test_a_module_that_fails_on_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "plugin_that_raises.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ServingError, match="ZeroDivisionError"):
        find_callable("plugin_that_raises:score")


def test_a_batch_is_scored_in_one_call():
    calls = []

    def model(batch):
        calls.append(len(batch))
        return np.array([row["x"] for row in batch], dtype=np.float32)

    assert score_batch(model, [{"x": 1}, {"x": 2}]) == [Answer(1.0), Answer(2.0)]
    assert calls == [2]


def test_one_poison_request_costs_only_its_own_score():
    def model(batch):
        return [1 / row["x"] for row in batch]

    answers = score_batch(model, [{"x": 1}, {"x": 0}, {"y": 1}, {"x": 4}])
    assert [a.score for a in answers] == [1.0, None, None, 0.25]
    assert [a.error for a in answers] == [None, "ZeroDivisionError: division by zero", "KeyError: 'x'", None]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (math.nan, "the model returned nan"),
        (math.inf, "the model returned inf"),
        (np.float32("-inf"), "the model returned -inf"),
        (None, "the model returned None, not a number"),
        ("0.5", "the model returned '0.5', not a number"),
        (10**400, "OverflowError: int too large to convert to float"),
    ],
)
def test_what_is_not_a_finite_number_is_an_error_that_says_what_came(value, error):
    answers = score_batch(lambda batch: [row["v"] for row in batch], [{"v": value}, {"v": 1}])
    assert answers == [Answer(None, error), Answer(1.0)]


def test_the_wrong_number_of_scores_is_an_error():
    answers = score_batch(lambda batch: [0.5], [{}, {}])
    assert answers == [Answer(0.5), Answer(0.5)]  # one by one it gives one each
    assert "2 scores for 1" in score_batch(lambda batch: [0.5, 0.5], [{}])[0].error
