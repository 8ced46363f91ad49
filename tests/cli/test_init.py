"""`birdwatch init` gives people a deployment of their own."""

import pytest
import yaml
from typer.testing import CliRunner

from birdwatch.cli.init import app, settings_file
from birdwatch.config import Settings, load_settings
from birdwatch.content import FOLDERS, content
from birdwatch.errors import SettingsError


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_copies_every_content_folder(tmp_path):
    result = run(tmp_path / "mine")
    assert result.exit_code == 0
    for name in FOLDERS:
        ours = {p.relative_to(content(name)) for p in content(name).rglob("*") if p.name != ".keep"}
        ours = {path for path in ours if "__pycache__" not in path.parts}
        assert {p.relative_to(tmp_path / "mine" / name) for p in (tmp_path / "mine" / name).rglob("*")} == ours


def test_an_empty_folder_will_do(tmp_path):
    assert run(tmp_path).exit_code == 0
    assert (tmp_path / "birdwatch.yaml").exists()


@pytest.mark.parametrize("there", ["a file in it", "a file"])
def test_refuses_to_write_over_anything(tmp_path, there):
    place = tmp_path / "mine"
    if there == "a file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / "precious").touch()
    with pytest.raises(SettingsError, match="mine is there and not an empty folder"):
        run(place)
    assert not (tmp_path / "mine" / "birdwatch.yaml").exists()


def test_the_settings_written_are_the_defaults_and_the_copied_rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birdwatch.yaml").write_text(settings_file())
    settings = load_settings()
    assert settings.model_fields_set == {"rules"}
    assert (tmp_path / settings.rules).name == "detectors"


def test_every_setting_stands_in_the_file_at_its_default():
    lines = [line.removeprefix("# ") for line in settings_file().splitlines()]
    values = {}
    for line in lines:
        name = line.partition(":")[0]
        if name in Settings.model_fields:
            values |= yaml.safe_load(line)
    assert Settings(**values | {"rules": None}) == Settings()
    assert set(values) == set(Settings.model_fields)
