"""Half an hour of a live page over a store that grows: memory stays flat in the server and in the browser.

`make test-soak` runs it, nothing else does. ``BIRDWATCH_SOAK_SECONDS`` asks for a shorter one.
"""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from birdwatch.windows.store import Store

from ..dashboards.synthetic import DAY, DAYS, HOUR, START, pane, write_store  # noqa: TID252
from .test_dashboard import browser_type_launch_args, served, settle  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore:Session-scoped fixtures defined as instance methods"),
]

SECONDS = float(os.environ.get("BIRDWATCH_SOAK_SECONDS", "1800"))
PAGE = "Scores"
EVERY_SECONDS = 10.0
GROWTH = 0.10


def memory_of(address):
    """Give the memory, in MiB, of the process that listens there, without what it shares with others."""
    port = int(address.rpartition(":")[2])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            inode = fields[9]
            break
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = any(str(each.readlink()) == f"socket:[{inode}]" for each in (process / "fd").iterdir())
        except OSError:
            continue
        if held:
            text = (process / "smaps_rollup").read_text()
            return int(text.partition("Pss:")[2].split()[0]) / 1024
    raise AssertionError(f"nobody listens at {address}")


def growth(values):
    """Give by how much the last quarter lies above the one before it: what is filled at the start is full by then."""
    quarter = len(values) // 4
    return statistics.median(values[-quarter:]) / statistics.median(values[-2 * quarter : -quarter]) - 1


def test_memory_stays_flat(page, tmp_path):
    path = tmp_path / "birdwatch.db"
    write_store(path).close()
    store, rng = Store(path), np.random.default_rng(5)
    measured = {"server": [], "heap": [], "nodes": []}
    with served(path) as address:
        page.goto(f"{address}/{PAGE.lower()}?range=week")
        settle(page, PAGE)
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        started, hour = time.monotonic(), DAYS * DAY // HOUR
        while time.monotonic() - started < SECONDS:
            with store.transaction():
                store.put(START + hour * HOUR, pane(rng, hour))
            hour += 1
            page.wait_for_timeout(EVERY_SECONDS * 1e3)
            for _ in range(3):  # what the first run lets go of, the next one collects
                client.send("HeapProfiler.collectGarbage")
            found = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
            measured["server"].append(memory_of(address))
            measured["heap"].append(found["JSHeapUsedSize"] / 2**20)
            measured["nodes"].append(found["Nodes"])
    store.close()
    grown = {what: growth(values) for what, values in measured.items()}
    for what, values in measured.items():
        points = [values[round(i * (len(values) - 1) / 7)] for i in range(8)]
        print(f"{what}: {' '.join(f'{point:.0f}' for point in points)} ({grown[what]:+.1%})")  # noqa: T201 - what a soak is for
    assert {what: round(more, 3) for what, more in grown.items() if more > GROWTH} == {}
