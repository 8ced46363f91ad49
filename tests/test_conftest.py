"""Where everything must run, a test that is skipped fails."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = {
    "test_in_a_test.py": "def test_it(): pytest.skip('no broker')",
    "test_by_a_mark.py": "@pytest.mark.skip(reason='no broker')\ndef test_it(): pass",
    "test_in_a_fixture.py": "@pytest.fixture\ndef broker(): pytest.skip('no broker')\ndef test_it(broker): pass",
    "test_of_a_module.py": "pytest.skip('no broker', allow_module_level=True)",
    "test_xfail.py": "@pytest.mark.xfail\ndef test_it(): assert False",
    "test_pass.py": "def test_it(): pass",
}


@pytest.fixture
def run(tmp_path):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    for name, source in SOURCES.items():
        (tmp_path / name).write_text(f"import pytest\n{source}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BIRDWATCH_", "PYTEST_"))}

    def run(**environment):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-rA",
                "-p",
                "no:cacheprovider",
                "--continue-on-collection-errors",
                ".",
            ],
            cwd=tmp_path,
            env=clean | environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def test_a_skip_fails_with_its_reason_where_nothing_may_be_skipped(run):
    code, said = run(BIRDWATCH_REQUIRE_ALL="1")
    assert code == 1
    assert "1 failed, 1 passed, 1 xfailed, 3 errors" in said
    told = r"(test_\w+\.py)\S*: nothing may be skipped here \(BIRDWATCH_REQUIRE_ALL=1\)\. Skipped: no broker"
    assert set(re.findall(told, said)) == set(SOURCES) - {"test_xfail.py", "test_pass.py"}


def test_a_skip_is_a_skip_elsewhere(run):
    code, said = run()
    assert code == 0
    assert "1 passed, 4 skipped, 1 xfailed" in said
