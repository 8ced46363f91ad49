from pathlib import Path

import pytest
from typer.testing import CliRunner

from birdwatch.cli.serve import app
from birdwatch.errors import AddressError, ServingError, SettingsError
from birdwatch.serving.decoy import Decoy


@pytest.fixture
def serve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text("default: 0.5\ntiers: [{models: [a]}]\n")
    (tmp_path / "bad.yaml").write_text("default: 0.5\ntiers: [{models: [a], after_second: 1}]\n")
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["gateway", "--schedule", "bad.yaml"], SettingsError, "bad.yaml: tiers.0.after_second"),
        (["gateway", "--schedule", "none.yaml"], SettingsError, "none.yaml cannot be read"),
        (["gateway", "--schedule", "good.yaml", "--features", "math:nothing"], ServingError, "no 'nothing'"),
        (["gateway", "--schedule", "good.yaml", "--features-config", "{}"], ServingError, "--features"),
        (["gateway", "--schedule", "good.yaml", "--streams", "nowhere", "--port", "0"], AddressError, "'nowhere'"),
        (["rendezvous", "--schedule", "bad.yaml"], SettingsError, "bad.yaml: tiers.0.after_second"),
        (["runner", "--model", "m", "--target", "math"], ServingError, "module:function"),
        (["runner", "--model", "m", "--target", "math:sqrt", "--artifact", "x"], ServingError, "gave no model"),
        (["runner", "--model", "m", "--target", "pickle", "--artifact", "x"], ServingError, "--allow-pickle"),
        (
            ["runner", "--model", "m", "--target", "pickle", "--artifact", "x", "--allow-pickle"],
            ServingError,
            "No such",
        ),
        (
            ["runner", "--model", "m", "--target", "skops", "--options", "{a}"],
            SettingsError,
            "--options '{a}' is no JSON",
        ),
    ],
)
def test_what_cannot_start_says_why(serve, arguments, error, words):
    result = serve(*arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


def test_the_decoy_reads_what_must_not_be_kept_from_the_settings(serve, monkeypatch):
    Path("birdwatch.yaml").write_text("archive: {requests: {drop: [key]}}")
    made = []
    monkeypatch.setattr(Decoy, "run", lambda decoy, _: made.append(decoy))
    assert serve("decoy", "--archive", "kept", "--streams", "sqlite:here").exit_code == 0
    assert made[0]._redactions["requests"].apply(b'{"id": "r1", "key": "Ann"}') == b'{"id":"r1"}'
    Path("birdwatch.yaml").write_text("archive: {requests: {hash: [key]}}")
    assert "BIRDWATCH_ARCHIVE_KEY" in str(serve("decoy", "--archive", "kept", "--streams", "sqlite:here").exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runner", "--target", "math:sqrt"], "--model"),
        (["runner", "--model", "m", "--target", "math:sqrt", "--role", "owl"], "'owl'"),
        (["decoy"], "--archive"),
        (["gateway"], "--schedule"),
        (["rendezvous"], "--schedule"),
    ],
)
def test_misuse_ends_with_code_2_and_names_the_option(serve, arguments, words):
    result = serve(*arguments)
    assert result.exit_code == 2
    assert words in result.output
