"""Killed at whatever write, a store holds panes and roll-ups that agree, and goes on to the same ones."""

import os
import signal
from contextlib import closing

import pytest

from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import Store

PANE, HOUR, DAY = 1200, 3600, 86_400
KEEP = Keep(panes=4 * HOUR)
LAST = DAY + 2 * HOUR
SCORE = Series("score", "m", "1")


def go_on(path, die_at=None):
    """Close the panes that are left, with a late row in each; die at a statement, if one is named."""
    store, left = Store(path, pane_seconds=PANE), die_at

    def watch(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    if die_at is not None:
        store.connection.exec_trace = watch
    first = (store.closed_range() or (0, 0))[1]
    for start in range(first, LAST, PANE):
        with store.transaction():
            store.put(start, {SCORE: Counts.of([start // PANE])})
            store.add(max(0, start - 7 * HOUR) // PANE * PANE, {SCORE: Counts.of([1])})
            store.age(start + PANE, KEEP, open_from=start)
    store.close()


def sums(path):
    with closing(Store(path, readonly=True)) as store:
        everything = [(start, c.bins.tolist(), c.counts.tolist()) for start, _, c in store.rows(0, LAST)]
        return everything, [store.pane(0, LAST), *store.blocks(0, LAST, HOUR).values()], store.held()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
def test_killed_at_any_statement_it_ends_with_the_same(tmp_path):
    plain = tmp_path / "plain.db"
    go_on(plain)
    path, deaths = tmp_path / "killed.db", 0
    for die_at in range(20, 400, 17):
        child = os.fork()
        if child == 0:
            go_on(path, die_at)
            os._exit(0)
        died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        deaths += died
        with closing(Store(path, pane_seconds=PANE)) as store:
            until, held = (store.closed_range() or (0, 0))[1], store.held()
            assert store.pane(0, until).get(SCORE, Counts.of([])).counts.sum() == 2 * (until // PANE)
            for cell in range(max(held.kept_from(PANE), 0), held.done_until(HOUR), HOUR):
                minutes = [c for _, _, c in store.rows(cell, cell + HOUR)]
                assert sum(c.counts.sum() for c in minutes) == store._cell(HOUR, cell)[SCORE].counts.sum()
        if not died:
            break
    go_on(path)
    assert deaths > 10
    assert str(sums(path)) == str(sums(plain))
