"""Settings: the command line over the environment over the file over the defaults, and mistakes named."""

from pathlib import Path

import pytest

from birdwatch.config import load_settings
from birdwatch.errors import SettingsError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def file(text, name="birdwatch.yaml"):
    Path(name).write_text(text)
    return Path(name)


def test_the_file_in_the_working_directory_is_read():
    file("pane_seconds: 3600")
    assert load_settings().pane_seconds == 3600


def test_the_environment_comes_before_the_file(monkeypatch):
    file("pane_seconds: 3600\nlateness_seconds: 5")
    monkeypatch.setenv("BIRDWATCH_PANE_SECONDS", "900")
    found = load_settings()
    assert (found.pane_seconds, found.lateness_seconds) == (900, 5)


def test_the_command_line_comes_before_both(monkeypatch):
    file("pane_seconds: 3600")
    monkeypatch.setenv("BIRDWATCH_PANE_SECONDS", "900")
    assert load_settings(pane_seconds=60).pane_seconds == 60


def test_what_the_command_line_does_not_say_is_left_to_the_others():
    file("streams: files:here")
    assert load_settings(streams=None).streams == "files:here"


def test_a_mapping_is_read():
    path = file("mappings: {scores: {topic: t, fields: {score: a.b}, units: {elapsed_seconds: 0.001}}}", "other.yaml")
    mapping = load_settings(path).mappings["scores"]
    assert (mapping.topic, mapping.fields, mapping.units) == ("t", {"score": "a.b"}, {"elapsed_seconds": 0.001})


def test_features_and_segments_are_read():
    path = file(
        "features: {visib: {}, to: {kind: category, path: leg.dest}}\nsegments: {origin: {most: 3}}", "other.yaml"
    )
    found = load_settings(path)
    visib, to = found.features["visib"], found.features["to"]
    assert [(each.kind, each.path, each.most) for each in (visib, to)] == [
        ("number", None, 50),
        ("category", "leg.dest", 50),
    ]
    assert (found.segments["origin"].kind, found.segments["origin"].most) == ("category", 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("features: {visib: {kind: text}}", "features.visib.kind = 'text'"),
        ("features: {visib: {mots: 3}}", "did you mean 'most'"),
        ("features: {'a=b': {}}", "features.a=b"),
        ("features: {'a*': {}}", "features.a*"),
        ("segments: {origin: {most: 0}}", "greater than 0"),
        ("segments: {origin: {edges: [1, 2]}}", "only a number has edges"),
        ("segments: {size: {kind: number, edges: [2, 1]}}", "edges must rise, not [2.0, 1.0]"),
        ("segments: {size: {kind: number, edges: [1, .inf]}}", "finite"),
        ("pane_second: 1", "unknown setting 'pane_second': did you mean 'pane_seconds'"),
        ("mappings: {scores: {topik: x}}", "did you mean 'topic'"),
        ("pane_seconds: soon", "pane_seconds = 'soon'"),
        ("pane_seconds: 0", "greater than 0"),
        ("scale: log", "scale = 'log'"),
        ("[a, list]", "holds list"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_mistake_is_named_with_its_file(text, says):
    with pytest.raises(SettingsError) as error:
        load_settings(file(text))
    assert says in str(error.value)
    assert "birdwatch.yaml" in str(error.value)


def test_a_file_that_is_asked_for_and_missing_is_named():
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        load_settings(Path("none.yaml"))
