"""Who does not ask for features or segments sees nothing of them: tables, roles, references, verdicts and alerts."""

import pytest

from birdwatch.alerts.history import read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.config import Feature, Segment, load_settings
from birdwatch.content import content
from birdwatch.detect.judge import Judge
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.rules import load_rules
from birdwatch.streams import open_streams
from birdwatch.windows import tables
from birdwatch.windows.pane import Series
from birdwatch.windows.roles import models, roles
from birdwatch.windows.shapes import joint_table
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

SAMPLES = content("sample_streams")
WATCHED = {
    "features": {"visib": Feature(), "wind_speed": Feature(), "dest": Feature(kind="category")},
    "segments": {
        "origin": Segment(),
        "distance": Segment(kind="number"),
        "haul": Segment(kind="number", path="distance", edges=[500, 1000]),
    },
}


def count(path, event="2013-05-14", **watched):
    """Count and judge recorded streams."""
    settings = load_settings(SAMPLES / "birdwatch.yaml").model_copy(update={"features": {}, "segments": {}, **watched})
    store = Store(path, pane_seconds=settings.pane_seconds)
    rules = load_rules(content("detectors"))
    unasking = tuple(rule for rule in rules.rules if getattr(rule, "of", "") != "features")
    judge = Judge(
        store,
        rules._replace(rules=unasking),
        windows_start_seconds=settings.windows_start_seconds,
        references=sorted((SAMPLES / event).glob("reference-*.json.gz")),
        canary=settings.canary,
    )
    tail = Tail(
        open_streams(f"files:{SAMPLES / event}"),
        store,
        settings,
        on_closed=lambda until: advance(store, judge.step(until)),
        finite=True,
    )
    while tail.step(10_000, 0.0):
        pass
    tail.finish()
    tail.close()
    return store


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return count(folder / "plain.db"), count(folder / "watched.db", **WATCHED)


def test_there_is_something_not_to_see(both):
    plain, watched = both
    assert plain.features() == {}
    assert plain.segments() == {}
    assert set(watched.features()) == set(WATCHED["features"])
    assert set(watched.segments()) == set(WATCHED["segments"])


def test_verdicts_and_alerts_are_the_same(both):
    plain, watched = (
        (list(store.connection.execute("SELECT * FROM verdicts")), read_alerts(store, 0, 2**40)) for store in both
    )
    assert len(plain[0]) > 100
    assert watched == plain


def test_tables_and_roles_are_the_same(both):
    def seen(store):
        first, until = store.closed_range()
        span = tables.span_of(store, first, until)
        frames = [
            tables.count_table(store, span),
            tables.latency_table(store, span, by_model=True),
            tables.pair_table(store, span),
            tables.selection_table(store, span),
            joint_table(store.pane(first, until), "challenger", "champion"),
        ]
        return [frame.to_csv() for frame in frames], models(store), roles(store, until)

    plain, watched = map(seen, both)
    assert watched == plain


def test_a_reference_gives_the_whole_alone(both):
    def known(store):
        first, until = store.closed_range()
        blocks = tuple(Block(start, pane) for start, pane in store.blocks(first, until, 86_400).items())
        reference = Reference("the days", first, until, 86_400, blocks)
        return {
            which: [(c.bins.tolist(), c.counts.tolist()) for c in reference.counts(*which)]
            for which in reference.measured()
            if "." not in which[0] or which[0].startswith("latency.")
        }

    plain, watched = map(known, both)
    assert watched == plain


def test_all_that_was_counted_without_them_is_the_same(both):
    plain, watched = (store.digest() for store in both)
    more = {series.measure.partition(".")[0] for _, series in set(watched) - set(plain)}
    assert {key: watched[key] for key in plain} == plain
    assert more - {"apart"} == {"feature", "category", "missing", "counts", "score", "pair", "difference"}
    assert all(series.segment or "." in series.measure for _, series in set(watched) - set(plain))


def test_a_segment_of_the_flights_has_the_scores_of_its_requests(both):
    _, watched = both
    pane = watched.pane(0, 2**40)
    parts = [c for s, c in pane.items() if s._replace(segment="") == Series("score", "champion", "1") and s.segment]
    whole = pane[Series("score", "champion", "1")].counts.sum()
    assert sum(int(part.counts.sum()) for part in parts) == len(WATCHED["segments"]) * whole
