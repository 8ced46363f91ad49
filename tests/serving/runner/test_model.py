import dataclasses
import math

import numpy as np
import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.plugins import find_callable
from birdwatch.serving.runner.model import Answer, Spec, load_model, score_batch

MODULE = """
import pathlib
def score(batch):
    return [row["x"] for row in batch]

def refuses(path):
    from birdwatch.errors import ServingError
    raise ServingError("not today")

def factory(path):
    offset = float(pathlib.Path(path).read_text())
    return lambda batch: [row["x"] + offset for row in batch]

def broken(path):
    return 3

def chosen(path=None, *, offset=0, scale=1):
    return lambda batch: [scale * row["x"] + offset for row in batch]
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
        (Spec("1", "{module}:refuses", "any"), r"refuses\('any'\): not today"),
        (Spec("1", "{module}:chosen", None, {"ofset": 1}), "'ofset'; the options are offset, scale"),
        (Spec("1", "sklearn", "any"), "module:function, or one of oip, onnx, pickle, skops"),
        (Spec("1", "skops"), "needs an artifact"),
        (Spec("1", "pickle", "model.pkl"), "--allow-pickle"),
        (Spec("1", "birdwatch.serving.runner.loaders.pickled:load", "model.pkl"), "--allow-pickle"),
    ],
)
def test_what_cannot_be_loaded_is_named(module, spec, words):
    spec = dataclasses.replace(spec, target=spec.target.format(module=module))
    with pytest.raises(ServingError, match=words):
        load_model(spec)


@pytest.mark.parametrize("artifact", [None, "any"])
def test_a_factory_is_given_the_options_as_keywords(module, artifact):
    model = load_model(Spec("1", f"{module}:chosen", artifact, {"offset": 0.5, "scale": 10}))
    assert model([{"x": 2}]) == [20.5]


def test_specs_of_other_options_are_others():
    one, two = Spec("1", "a:b", None, {"x": [1]}), Spec("1", "a:b", None, {"x": [2]})
    assert len({one, two, Spec("1", "a:b", None, {"x": [1]})}) == 2


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


def test_what_else_the_model_gives_is_kept_as_it_will_travel():
    rows = [{"score": np.float32(0.5), "output": {"a": (1, None), 2: "b"}}, {"score": 1}, 0.25]
    assert score_batch(lambda batch: rows, [{}, {}, {}]) == [
        Answer(0.5, None, {"a": [1, None], "2": "b"}),
        Answer(1.0),
        Answer(0.25),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"score": 1.0, "output": np.zeros(2)}, "cannot travel as JSON"),
        ({"score": 1.0, "output": "\ud800"}, "cannot travel as JSON"),
        ({"score": None, "output": 3}, "returned None, not a number"),
        ({"output": 3}, "an object without 'score': {'output': 3}"),
        ("\ud800", "returned '\\ud800'"),
    ],
)
def test_what_cannot_travel_is_an_error_that_can(value, words):
    bad, good = score_batch(lambda batch: [row["v"] for row in batch], [{"v": value}, {"v": 1}])
    assert (bad.score, bad.output) == (None, None)
    assert words in bad.error
    assert bad.error.encode()
    assert good == Answer(1.0)


def test_what_the_model_raises_can_travel_whatever_it_says():
    def model(batch):
        raise ValueError("\ud800" + "x" * 10_000)

    [answer] = score_batch(model, [{}])
    assert answer.error.startswith("ValueError: ?xxx")
    assert len(answer.error) < 600


def test_rows_are_not_tried_again_when_nobody_waits_any_more():
    calls = []

    def model(batch):
        calls.append(len(batch))
        raise ValueError("no")

    answers = score_batch(model, [{}, {}, {}], lambda: len(calls) < 2)
    assert calls == [3, 1]
    assert [a.error for a in answers] == ["ValueError: no", "nobody waited for it", "nobody waited for it"]


def test_a_model_may_say_itself_what_went_wrong():
    assert score_batch(lambda batch: [Answer(None, "closed on Sundays"), 1], [{}, {}]) == [
        Answer(None, "closed on Sundays"),
        Answer(1.0),
    ]
