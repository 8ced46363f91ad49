"""The GitHub action runs the check as a workflow would, and passes its answer on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ACTION = Path(__file__).parents[2] / "action.yml"


@pytest.fixture
def run(tmp_path):
    """Run the step that checks, with a `birdwatch` that says what it was given and exits as told."""
    steps = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    script = next(step["run"] for step in steps if step.get("id") == "check")
    fake = tmp_path / "birdwatch"
    fake.write_text(f"#!{sys.executable}\nimport os, sys\nprint(*sys.argv[1:])\nsys.exit(int(os.environ['EXIT']))\n")
    fake.chmod(0o755)

    def go(code, inconclusive="fail"):
        output = tmp_path / "output"
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ARGS": "--champion a.parquet --shadow b.parquet",
            "INCONCLUSIVE": inconclusive,
            "GITHUB_OUTPUT": str(output),
            "EXIT": str(code),
        }
        # As GitHub runs `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return ended.returncode, output.read_text() if output.exists() else "", ended.stdout

    return go


@pytest.mark.parametrize(
    ("code", "inconclusive", "ends", "verdict"),
    [
        (0, "fail", 0, "verdict=pass\n"),
        (1, "fail", 1, "verdict=fail\n"),
        (2, "pass", 2, ""),
        (3, "fail", 3, "verdict=inconclusive\n"),
        (3, "pass", 0, "verdict=inconclusive\n"),
    ],
)
def test_the_job_ends_as_the_check_does(run, code, inconclusive, ends, verdict):
    ended, output, said = run(code, inconclusive)
    assert (ended, output) == (ends, verdict)
    assert said == "check --champion a.parquet --shadow b.parquet --report github\n"
