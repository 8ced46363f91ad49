"""A tail that is killed with -9 and started again counts as one that never was."""

import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import yaml

from birdwatch.streams import open_streams
from birdwatch.windows.store import Store

from .traffic import shuffled, traffic, write

pytestmark = pytest.mark.integration


def command(settings, store, *more):
    return [sys.executable, "-m", "birdwatch", "tail", "--settings", str(settings), "--store", str(store), *more]


@contextmanager
def tailing(settings, store):
    """Run a tail until it is ready; whatever happens, it does not outlive the test."""
    with subprocess.Popen(command(settings, store), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def positions(path):
    """Give how many messages the store has taken in; a store that is just being made has none."""
    try:
        store = Store(path, readonly=True)
        counted = sum(point.position for point in store.checkpoints().values())
        store.close()
    except Exception:  # noqa: BLE001 - not made yet, or its tables are not
        return 0
    return counted


def test_killed_at_random_moments_and_started_again_it_gives_the_same_panes(tmp_path):
    events = shuffled(traffic(seconds=1800, rate=2.0), within=25)
    address = f"sqlite:{tmp_path}/streams"
    chosen = {"streams": address, "pane_seconds": 60, "champion": "champion", "lateness_seconds": 30}
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(chosen))
    place = open_streams(address)
    random_ = random.Random(5)
    killed = 0
    for part in range(6):
        with tailing(settings, tmp_path / "a.db") as process:
            before = positions(tmp_path / "a.db")
            write(place, events[part * len(events) // 6 : (part + 1) * len(events) // 6])
            until = time.monotonic() + 30
            while positions(tmp_path / "a.db") == before and time.monotonic() < until:
                time.sleep(random_.uniform(0.01, 0.1))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
    assert killed == 6
    for name in ("a", "b"):  # go on with the one, and count the other without a break
        subprocess.run(command(settings, tmp_path / f"{name}.db", "--until-end"), check=True, timeout=120)
    disturbed, plain = Store(tmp_path / "a.db", readonly=True), Store(tmp_path / "b.db", readonly=True)
    assert len(plain.digest()) > 500
    assert disturbed.digest() == plain.digest()


def test_sigterm_ends_it_at_once_and_in_order(tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"streams": f"sqlite:{tmp_path}/streams"}))
    with tailing(settings, tmp_path / "a.db") as process:
        process.terminate()
        assert process.wait(10) == 0
