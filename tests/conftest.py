"""What all tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test fails for a machine that is busy.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]

FAULTS = pytest.StashKey()

# Where everything must run (.ci/run), a test that is skipped is a test that fails: nobody reads the reasons there.
REQUIRE_ALL = os.environ.get("BIRDWATCH_REQUIRE_ALL") == "1"


@pytest.fixture
def root():
    """The root of the checkout."""
    return ROOT


def pytest_collection_modifyitems(items):
    # The browser's driver leaves an event loop running for the rest of the session: who needs one of their own goes first.
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    if REQUIRE_ALL and report.skipped:
        _fail(report)
    return report


def _fail(report):
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: nothing may be skipped here (BIRDWATCH_REQUIRE_ALL=1). {reason}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel as people get it, built from this checkout."""
    made = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = made.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def kafka():
    """The address of a real Kafka: what BIRDWATCH_KAFKA names, or a broker of this run's own."""
    given = os.environ.get("BIRDWATCH_KAFKA")
    if given:
        yield f"kafka://{given.removeprefix('kafka://')}"
        return
    command = [sys.executable, str(ROOT / "tests" / "integration" / "kafka_broker.py"), "--tethered"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as broker:
        address = broker.stdout.readline().strip()
        if not address:
            _, said = broker.communicate()
            (pytest.skip if broker.returncode == 3 else pytest.fail)(said.strip())
        yield address
        broker.communicate()  # closes its standard input, and so ends it


@pytest.fixture(scope="session")
def faults(pytestconfig):
    """The table of faults: what a test broke, and what came of it."""
    from .faults.table import Table

    return pytestconfig.stash.setdefault(FAULTS, Table())


def pytest_terminal_summary(terminalreporter, config):
    if config.stash.get(FAULTS, None):
        from .faults.table import NIGHTLY

        terminalreporter.section("faults")
        terminalreporter.write_line(config.stash[FAULTS].text())
        if NIGHTLY:
            config.stash[FAULTS].keep()
