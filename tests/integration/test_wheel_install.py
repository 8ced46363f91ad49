"""The wheel works in an empty environment, far from the checkout."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` of an empty environment into which the wheel was installed with what the demo needs."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False, symlinks=True)
    uv = Path(sys.executable).with_name("uv")
    lock = Path(__file__).parents[2] / "requirements-demo.lock"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", "-c", lock, f"{wheel}[demo]"],
        check=True,
        timeout=600,
    )
    return place / "bin"


@pytest.fixture
def run(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BIRDWATCH_", "PYTHON"))}

    def run(*command, seconds=120):
        done = subprocess.run(
            [installed / command[0], *command[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_explains_itself(run):
    assert "demo" in run("birdwatch", "--help")
    assert "--days" in run("birdwatch", "demo", "--help")


def test_it_has_its_content_inside(run, tmp_path):
    found = run("python", "-c", "from birdwatch.content import *; print(*(content(n) for n in FOLDERS), sep='\\n')")
    assert all("site-packages/birdwatch/_content/" in line for line in found.splitlines())
    run("birdwatch", "init", "mine")
    assert (tmp_path / "mine" / "birdwatch.yaml").exists()
    run("birdwatch", "rules", "check", "mine/detectors")


def test_it_runs_the_demo(run, tmp_path):
    run("birdwatch", "demo", "--days", "1", "--no-dashboard", "--json", "out.json", seconds=900)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["answers"] == found["requests"] > 500
