import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.features.plugin import Gone, load_features, remembers

MODULE = """
def add_hour(features, ts):
    return {**features, "hour": int(ts // 3600)}

def weather(table):
    return lambda features, ts: {**features, "wind": table["wind"]}

def from_path(path):
    wind = float(path.read_text())
    return lambda features, ts: {**features, "wind": wind}

def broken(config):
    return config
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"features_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_without_a_plug_in_features_stay_as_they_are():
    assert load_features(None)({"x": 1}, 0.0) == {"x": 1}


def test_a_plug_in_sees_the_event_time(module):
    assert load_features(f"{module}:add_hour")({"x": 1}, 7200.0) == {"x": 1, "hour": 2}


def test_a_factory_is_given_its_configuration(module, tmp_path):
    assert load_features(f"{module}:weather", '{"wind": 5}')({}, 0.0) == {"wind": 5}
    (tmp_path / "wind").write_text("7")
    assert load_features(f"{module}:from_path", str(tmp_path / "wind"))({}, 0.0) == {"wind": 7.0}


@pytest.mark.parametrize(
    ("target", "config", "words"),
    [
        (None, "{}", "--features"),
        ("{module}:nothing", None, "no 'nothing'"),
        ("{module}:weather", "{not json}", "DecodeError"),
        ("{module}:from_path", "missing", "FileNotFoundError"),
        ("{module}:broken", "{}", "dict, not a function"),
    ],
)
def test_a_plug_in_that_cannot_be_made_is_named(module, target, config, words):
    with pytest.raises(ServingError, match=words):
        load_features(target and target.format(module=module), config)


STATEFUL = """
class Whole:
    def __init__(self, config=None):
        self.config = config
    def __call__(self, features, ts):
        return {**features, "config": self.config}
    def snapshot(self): return 1
    def restore(self, state): pass
    def observe(self, features, ts): pass

class Half:
    def __call__(self, features, ts): return features
    def snapshot(self): return 1

class Raises:
    def __init__(self):
        raise OSError("no table")
"""


@pytest.fixture
def stateful(tmp_path, monkeypatch):
    name = f"stateful_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(STATEFUL)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_class_is_called_for_an_object_with_or_without_a_configuration(stateful):
    alone, configured = load_features(f"{stateful}:Whole"), load_features(f"{stateful}:Whole", {"a": 1})
    assert remembers(alone)
    assert (alone({}, 0.0), configured({}, 0.0)) == ({"config": None}, {"config": {"a": 1}})
    assert not remembers(load_features(None))


@pytest.mark.parametrize(
    ("target", "words"),
    [("Half", "Half has no restore and no observe"), ("Raises", "Raises.* gave no function: OSError: no table")],
)
def test_a_plug_in_with_half_a_state_or_that_cannot_be_made_is_named(stateful, target, words):
    with pytest.raises(ServingError, match=words):
        load_features(f"{stateful}:{target}")


def test_one_that_is_gone_hands_on_what_it_remembered_and_injects_nothing():
    gone = Gone("no module")
    gone.restore({"n": 3})
    gone.observe({"x": 1}, 0.0)
    assert remembers(gone)
    assert gone.snapshot() == {"n": 3}
    with pytest.raises(ServingError, match="no module"):
        gone({}, 0.0)
