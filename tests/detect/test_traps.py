"""From messages to verdicts: what would break the promise of the budget, or silence a rule, if it were counted wrongly."""

import math
import random

import numpy as np
import pytest

from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.state import read_states
from birdwatch.detect.verdict import read_verdicts
from birdwatch.records import Score, encode
from birdwatch.streams import Message
from birdwatch.windows.build import Grid, build
from birdwatch.windows.decode import Decoder
from birdwatch.windows.names import Names
from birdwatch.windows.pane import Series, counters
from birdwatch.windows.store import Source, Store

from .scenes import HOUR, draw

PAST, HOURS = 24, 12
"""After a day of reference so many hours are judged."""

RULES = RuleSet(
    tuple(
        KINDS[kind].model_validate(
            {"name": kind, "kind": kind, "window": "1h", "reference": {"trailing": "2d"}, "min_events": 1, **more}
        )
        for kind, more in {
            "paired": {},
            "disagreement": {},
            "distribution": {"tolerance": 0.0},
            "rate": {"of": "nulls", "tolerance": 0.01},
        }.items()
    )
)


def hour_of(rng, hour, n, **story):
    """Give what three models said of the requests of one hour."""
    return [
        Score(
            request_id=f"{hour}-{i}",
            request_ts=hour * HOUR + i,
            ts=hour * HOUR + i + 1,
            model=model,
            version="1",
            score=float(value),
        )
        for model, values in (draw(rng, n, **story) if n else {}).items()
        for i, value in enumerate(values)
    ]


def counted(records):
    """Count an hour's records as they came, with whatever comes twice."""
    names, columns = Names(), {}
    for stream in ("scores", "canary"):
        mine = [record for record in records if (record.model == "canary") == (stream == "canary")]
        decoder = Decoder(stream, names, now=lambda: 1e9, earliest=0.0)
        messages = [Message(stream, 0, at, b"", encode(record)) for at, record in enumerate(mine)]
        if messages:
            columns[stream], _, faults = decoder(messages)
            assert faults == []
    return build(columns, names, Grid("probability", 1.0), "champion", "canary")


def judged(path, hours):
    """Give the verdicts over hours of records, what is remembered, and the store's panes."""
    store = Store(path, pane_seconds=HOUR)
    with store.transaction():
        store.put_sources([Source("canary", 0, "canary", 0.0, idle=False)])
        for hour, records in enumerate(hours):
            store.put(hour * HOUR, counted(records).pane)
        Judge(store, RULES, judge_from=PAST * HOUR).step(len(hours) * HOUR)
    found = read_verdicts(store, 0, 1_000 * HOUR), [read_states(store, rule.name) for rule in RULES.rules]
    store.close()
    return found


def scene(sizes, **story):
    rng = np.random.default_rng(1)
    past = [hour_of(rng, hour, 60) for hour in range(PAST)]
    return past + [hour_of(rng, PAST + i, n, **story) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("times", [2, 5])
def test_what_comes_several_times_in_any_order_is_judged_as_if_it_had_come_once(tmp_path, times):
    once = scene([60] * HOURS)
    draws = random.Random(times)
    often = [draws.sample(records * times, len(records) * times) for records in once]
    assert counted(often[0]).duplicates == {"scores": 120 * (times - 1), "canary": 60 * (times - 1)}
    judgements = judged(tmp_path / "often.db", often)
    assert {v.status for v in judgements[0]} == {"ok"}
    assert judgements == judged(tmp_path / "once.db", once)


def test_what_comes_twice_would_be_evidence_if_it_counted_twice(tmp_path):
    # The same hours under other names: the very evidence that repetition would have given.
    once = scene([60] * HOURS, challenger=0.08)
    doubled = [
        records
        + [
            Score(**{f: getattr(r, f) for f in r.__struct_fields__} | {"request_id": f"{r.request_id}'"})
            for r in records
        ]
        for records in once
    ]
    single, double = (
        max(v.evidence for v in judged(tmp_path / f"{name}.db", hours)[0] if v.rule == "paired")
        for name, hours in (("once", once), ("twice", doubled))
    )
    assert double > single + 1


def test_a_score_that_is_no_number_is_a_null_and_no_score(tmp_path):
    hours = scene([60] * HOURS)
    for records in hours[PAST:]:
        for record in records:
            if record.model == "challenger" and record.request_id.endswith(("3", "7")):
                record.score = None
    pane = counted(hours[-1]).pane
    assert counters(pane[Series("counts", "challenger", "1")])["nulls"] == 12
    assert pane[Series("score", "challenger", "1")].counts.sum() == 48
    assert counters(pane[Series("pair", "challenger", "1", "champion")])["requests"] == 48  # bin 0: how many pairs
    verdicts, _ = judged(tmp_path / "nulls.db", hours)
    assert all(math.isfinite(v.evidence) for v in verdicts if v.evidence is not None)
    nulls = [v for v in verdicts if v.rule == "rate" and v.subject.model == "challenger"]
    assert any(v.alarmed for v in nulls)
    assert not any(v.status == "drifting" for v in verdicts if v.rule != "rate")


@pytest.mark.parametrize("n", [0, 1, 5])
def test_hours_of_hardly_any_events_are_judged_and_what_is_remembered_is_finite(tmp_path, n):
    verdicts, states = judged(tmp_path / "few.db", scene([n] * HOURS))
    assert {v.status for v in verdicts} <= {"ok", "no data"}
    assert n == 0 or {v.rule for v in verdicts if v.evidence is not None} == {rule.name for rule in RULES.rules}
    assert all(math.isfinite(v.evidence) for v in verdicts if v.evidence is not None)
    for of_rule in states:
        for state in of_rule.values():
            assert np.isfinite(state.get("kept", [])).all()


def test_between_hours_of_nothing_a_change_is_found_all_the_same(tmp_path):
    sizes = [60, 0, 1, 60, 0, 5, 60, 60]
    verdicts, _ = judged(tmp_path / "gaps.db", scene(sizes, permute=True))
    assert any(v.alarmed for v in verdicts if v.rule == "disagreement" and v.subject.model == "challenger")
