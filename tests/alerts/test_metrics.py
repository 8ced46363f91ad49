"""What the tail shows at /metrics, read back with the parser of the Prometheus client."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from birdwatch.alerts.acknowledgements import acknowledge
from birdwatch.alerts.held import hold, read_firing
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.metrics import StoreMetrics
from birdwatch.alerts.watchdog import Watchdog
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table as create_ledger
from birdwatch.detect.spending import put_spending, write_looks
from birdwatch.detect.verdict import Finding, Subject, Verdict, create_table, put_verdicts
from birdwatch.testing import MemoryStreams
from birdwatch.windows.metrics import ReadingMetrics
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.reading import Reading
from birdwatch.windows.store import Source, Store

DAY = 86_400


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=DAY)
    yield store
    store.close()


@pytest.fixture
def shown(store):
    """Read the metrics as they would be scraped twelve hours after the tenth day: by (name, labels)."""

    def read():
        registry = CollectorRegistry()
        registry.register(StoreMetrics(store.path, now=lambda: 10.5 * DAY))
        families = text_string_to_metric_families(generate_latest(registry).decode())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    return read


def test_a_new_store_shows_that_nothing_fires(shown):
    found = shown()
    assert found["birdwatch_tail_panes_closed_total",] == 0
    assert found["birdwatch_alerts_firing", "page", "active"] == 0
    assert not any(name == "birdwatch_tail_lag_seconds" for name, *_ in found)


def test_panes_that_were_found_damaged_are_counted(store, shown):
    store.put(0, {Series("counts"): Counts.of([1]), Series("score", "m"): Counts.of([1])})
    store.connection.execute("UPDATE panes SET counts = x'0900000000000000' WHERE series = 1")
    assert shown()["birdwatch_store_damaged_rows",] == 0
    with store.transaction():
        store.pane(0, DAY)
    assert shown()["birdwatch_store_damaged_rows",] == 1


def test_how_far_event_time_has_come(store, shown):
    with store.transaction():
        for day in range(10):
            store.put(day * DAY, {})
        sources = [Source("scores", 0, model, 10 * DAY - wait, idle=False) for model, wait in (("a", 60), ("b", 10))]
        store.put_sources([*sources, Source("requests", 0, "", 10.0 * DAY, idle=False)])
    found = shown()
    assert found["birdwatch_tail_panes_closed_total",] == 10
    assert found["birdwatch_tail_closed_until_timestamp_seconds",] == 10 * DAY
    assert found["birdwatch_tail_lag_seconds",] == DAY / 2
    assert found["birdwatch_tail_last_event_age_seconds", "scores"] == DAY / 2 + 10
    assert found["birdwatch_tail_last_event_age_seconds", "requests"] == DAY / 2


def test_verdicts_of_the_last_window_and_what_fires(store, shown):
    def verdict(day, model, status):
        said = {"rule": "scores", "kind": "distribution", "reason": "why"}
        return Verdict(start=(day - 1) * DAY, end=day * DAY, subject=Subject(model, "1"), status=status, **said)

    told = {"rule": "scores", "ts": 10 * DAY, "active": True, "reason": "why"}
    with store.transaction():
        create_table(store)
        store.note("judged_until", {"scores": 10 * DAY, "later": 10 * DAY})
        put_verdicts(store, [verdict(9, "a", "error"), verdict(10, "a", "ok"), verdict(10, "b", "drifting")])
        advance(store, [Finding(subject=Subject(m), severity="ticket", **told) for m in ("a", "b")])
    found = shown()
    assert {
        status: found["birdwatch_verdicts", "scores", status] for status in ("ok", "drifting", "no data", "error")
    } == {
        "ok": 1,
        "drifting": 1,
        "no data": 0,
        "error": 0,
    }
    assert found["birdwatch_verdicts", "later", "ok"] == 0
    assert found["birdwatch_alerts_firing", "ticket", "active"] == 2
    assert found["birdwatch_alerts_firing", "page", "active"] == 0


def test_what_fires_is_parted_by_what_keeps_it_back_and_who_looks_after_it(store, shown):
    told = {"rule": "scores", "ts": 60, "severity": "page", "active": True, "reason": "why"}
    names = ("active", "seen", "explained", "silenced", "both")
    raised = advance(store, [Finding(subject=Subject(model), **told) for model in names])
    Watchdog(store, 60.0).beat()
    numbers = {one.alert.model: one.number for one in read_firing(store)}
    acknowledge(store, {alert.model: alert for alert in raised}["seen"].fingerprint, author="ann", now=0.0)
    for model, why in (
        ("explained", "inhibited"),
        ("silenced", "silenced"),
        ("both", "inhibited"),
        ("both", "silenced"),
    ):
        hold(store, numbers[model], why, "1")
    found = shown()
    states = {state: found["birdwatch_alerts_firing", "page", state] for state in ("active", "acknowledged")}
    held = {state: found["birdwatch_alerts_firing", "page", state] for state in ("inhibited", "silenced")}
    assert (states, held) == ({"active": 1, "acknowledged": 1}, {"inhibited": 1, "silenced": 2})
    assert sum(value for (name, *_), value in found.items() if name == "birdwatch_alerts_firing") == len(names)


def test_how_the_budgets_stand(store, shown):
    fired = Finding(rule="pairs", subject=Subject("m"), ts=10 * DAY, severity="page", active=True, reason="why")
    with store.transaction():
        create_ledger(store)
        put_spending(store, {"page": Budget(pages=2).spend([Watch("pairs", 4, DAY), Watch("sla", 0, DAY)])})
        write_looks(store, 10 * DAY, "page", "pairs", looks=30, level=60.0)
        advance(store, [fired])
    found = shown()
    assert found["birdwatch_budget_promised", "page"] == 2
    assert found["birdwatch_budget_period_seconds", "page"] == 30 * DAY
    assert found["birdwatch_budget_spent", "page"] == 0.5
    assert found["birdwatch_budget_left", "page"] == 1.5
    assert found["birdwatch_budget_fired", "page"] == 1
    assert found["birdwatch_budget_level", "pairs", "page"] == 60
    assert found["birdwatch_budget_subjects", "pairs", "page"] == 4


def test_a_scrape_leaves_no_connection_open(shown, monkeypatch):
    opened = []
    original = Store.__init__

    def remember(self, *args, **kwargs):
        opened.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Store, "__init__", remember)
    shown()
    (used,) = opened
    with pytest.raises(Exception, match="closed"):
        used.connection.execute("SELECT 1")


def test_the_guide_names_all_of_them(store, root):
    guide = (root / "docs/guide/budget.md").read_text()
    named = set(re.findall(r"`(birdwatch_[a-z_]+)`", guide))
    named |= {f"birdwatch_budget_{what}" for what in re.findall(r"`…_([a-z_]+)`", guide)}
    streams = MemoryStreams()
    reading = Reading(streams, streams.reader(["scores"]), None, list)
    shown = {m.name for each in (StoreMetrics(store.path), ReadingMetrics(lambda: reading)) for m in each.collect()}
    counters = {f"{name}_total" if f"{name}_total" in named else name for name in shown}
    assert named - counters <= {
        "birdwatch_ready",
        "birdwatch_tail_closed_until_timestamp_seconds",
        "birdwatch_tail_lag_seconds",
        "birdwatch_tail_watermark_timestamp_seconds",
    }
    assert counters <= named
