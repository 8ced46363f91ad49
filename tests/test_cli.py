"""Every command is there, explains itself, and does not keep people waiting who only ask."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from birdwatch.cli.main import app

ROOT = typer.main.get_command(app)
NAMES = ROOT.list_commands(None)

# What takes long to import, and no `--help` needs.
HEAVY = [
    "altair",
    "confluent_kafka",
    "httpx",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "starlette",
    "statsmodels",
    "streamlit",
]

ASK_FOR_HELP = """
import json, sys
from birdwatch.cli.main import app
said = {}
for arguments in json.loads(sys.argv[1]):
    sys.stdout = open("/dev/null", "w")
    try:
        app([*arguments, "--help"], standalone_mode=False)
    except SystemExit:
        pass
    sys.stdout.close()
    sys.stdout = sys.__stdout__
    said[" ".join(arguments)] = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps(said))
"""


def commands(command, *path):
    """Give (path, command) of a command and of all in it."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), *path, name)


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "birdwatch", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_explains_itself(name):
    for path, command in commands(ROOT.get_command(None, name), name):
        shown = CliRunner().invoke(app, [*path, "--help"])
        assert shown.exit_code == 0, path
        assert shown.output.startswith("Usage: "), f"{path} is drawn differently from the others"
        assert "--install-completion" not in shown.output, path
        assert command.help, f"{' '.join(path)} says nothing of itself"
        silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
        assert silent == [], f"{' '.join(path)} has options without help"


def test_help_loads_nothing_heavy():
    asked = [[], *([name] for name in NAMES)]
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_HELP, json.dumps(asked), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == {" ".join(arguments): [] for arguments in asked}


def test_the_root_lists_every_command_in_order():
    shown = CliRunner().invoke(app, ["--help"]).output
    assert sorted(NAMES) == NAMES
    assert [
        line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line.split()[0] in NAMES
    ] == NAMES


def test_what_goes_wrong_on_purpose_is_one_line_and_exit_code_2(tmp_path):
    done = run("alerts", "list", "--store", "nowhere.db", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "birdwatch: there is no store at nowhere.db: start `birdwatch tail --store nowhere.db` first\n"
    )


def test_a_setting_that_is_misspelt_is_named_with_its_neighbour(tmp_path):
    (tmp_path / "birdwatch.yaml").write_text("webhok: http://receiver.test/\n")
    done = run("alerts", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "birdwatch: birdwatch.yaml: unknown setting 'webhok': did you mean 'webhook'?\n"


def test_an_unknown_command_is_misuse(tmp_path):
    done = run("fly", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr


def test_the_version_is_that_of_the_package(tmp_path):
    assert run("--version", cwd=tmp_path).stdout == f"birdwatch {version('birdwatch')}\n"
