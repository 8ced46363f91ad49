"""Half an hour of a live page over a store that grows: memory stays flat in the server and in the browser.

`make test-soak` runs it, nothing else does. ``BIRDWATCH_SOAK_SECONDS`` asks for a shorter one.
"""

import os
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
PER_HOUR = {"server": 24.0, "heap": 6.0, "nodes": 2_000.0}
"""By how much the second half may grow in an hour at most: MiB of the server, MiB of JavaScript, nodes of the page."""


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


def slope(times, values):
    """Give the growth an hour over the second half, by the median of all slopes (Theil and Sen)."""
    half = len(times) // 2
    t, v = np.array(times[half:]) / 3_600, np.array(values[half:], dtype=float)
    later, earlier = np.triu_indices(t.size, 1)[::-1]
    return float(np.median((v[later] - v[earlier]) / (t[later] - t[earlier])))


def test_memory_stays_flat(page, tmp_path):
    path = tmp_path / "birdwatch.db"
    write_store(path).close()
    store, rng = Store(path), np.random.default_rng(5)
    measured = {"seconds": [], "server": [], "heap": [], "nodes": []}
    with served(path) as address:
        page.goto(f"{address}/{PAGE.lower()}?range=week")
        settle(page, PAGE)
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        started, hour = time.monotonic(), DAYS * DAY // HOUR
        while (passed := time.monotonic() - started) < SECONDS:
            with store.transaction():
                store.put(START + hour * HOUR, pane(rng, hour))
            hour += 1
            page.wait_for_timeout(EVERY_SECONDS * 1e3)
            client.send("HeapProfiler.collectGarbage")
            found = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
            measured["seconds"].append(passed)
            measured["server"].append(memory_of(address))
            measured["heap"].append(found["JSHeapUsedSize"] / 2**20)
            measured["nodes"].append(found["Nodes"])
    store.close()
    growth = {what: slope(measured["seconds"], measured[what]) for what in PER_HOUR}
    for what, grown in growth.items():
        points = [measured[what][round(i * (len(measured[what]) - 1) / 7)] for i in range(8)]
        print(f"{what}: {' '.join(f'{point:.0f}' for point in points)} ({grown:+.1f} an hour)")  # noqa: T201 - what a soak is for
    assert {what: round(grown, 1) for what, grown in growth.items() if grown > PER_HOUR[what]} == {}
