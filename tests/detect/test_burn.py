"""The burn of latency objectives: held against a plain count over the times themselves."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.detect.burn import Objective, burn_table, objectives
from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.verdict import Subject, Verdict, create_table, put_verdicts
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span

from .scenes import case

HOUR = 3600
SPAN = Span(0, 4 * HOUR, HOUR)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "birdwatch.db", pane_seconds=HOUR)
    create_table(opened)
    yield opened
    opened.close()


def judged(seconds, end, **rule):
    rule = LatencyRule.model_validate({"name": "slow", "stage": "model", "objective": "200ms", **rule})
    pane = {Series(f"latency.{rule.stage}", "m", "1"): Counts.of(bins_of(seconds))} if len(seconds) else {}
    verdict, _ = rule.judge(case(pane, ("m", "1")), {}, 5.0)
    return Verdict(
        **{name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"start": end - HOUR, "end": end}
    )


def test_the_burn_is_the_share_that_was_slower_over_the_share_that_may_be(store):
    rng = np.random.default_rng(11)
    times = {start: 0.05 * np.exp(rng.normal(0, 0.8, 500 + 100 * n)) for n, start in enumerate((0, HOUR, 3 * HOUR))}
    with store.transaction():
        for start, seconds in times.items():
            store.put(start, {Series("latency.model", "m", "1"): Counts.of(bins_of(seconds))})
    table = burn_table(store, SPAN, [Objective("slow", "model", 0.95, 0.1)])
    assert table["time"].tolist() == [pd.Timestamp(start, unit="s", tz="UTC") for start in times]
    # One bin of the grid may lie on both sides of the objective: what is in it did not take longer.
    least = [np.mean(seconds > 0.1 * 1.008) / 0.05 for seconds in times.values()]
    most = [np.mean(seconds > 0.1) / 0.05 for seconds in times.values()]
    assert ((np.array(least) <= table["burn"]) & (table["burn"] <= np.array(most))).all()
    assert table["n"].tolist() == [500, 600, 700]
    assert set(table["allowed"]) == {0.05}


def test_a_time_is_held_to_the_objectives_that_were_in_force_in_it(store):
    put_verdicts(store, [judged([0.1] * 50, HOUR), judged([0.1] * 50, 2 * HOUR, objective="300ms", percentile=0.9)])
    put_verdicts(store, [judged([], 3 * HOUR, objective="1s")])  # there was nothing to measure
    assert objectives(store, 0, HOUR) == [Objective("slow", "model", 0.99, 0.2)]
    assert objectives(store, 0, 3 * HOUR) == [Objective("slow", "model", 0.9, 0.3)]
    assert objectives(store, 2 * HOUR, 3 * HOUR) == []


def test_rules_of_other_kinds_have_no_objective_and_nor_has_a_store_that_nobody_judges(store, tmp_path):
    other = Verdict(
        rule="ks", kind="distribution", start=0, end=HOUR, subject=Subject("m", "1"), status="ok", reason=""
    )
    put_verdicts(store, [other])
    assert objectives(store, 0, HOUR) == []
    plain = Store(tmp_path / "plain.db", pane_seconds=HOUR)
    assert objectives(plain, 0, HOUR) == []
    assert burn_table(plain, SPAN, []).empty
    plain.close()
