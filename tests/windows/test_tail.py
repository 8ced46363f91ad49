"""The tail gives the same panes whatever the order, the interruptions and the repetitions."""

import json

import numpy as np
import pyarrow as pa
import pytest

from birdwatch import records
from birdwatch.config import Feature, Mapping, Segment, Settings
from birdwatch.errors import SettingsError
from birdwatch.streams import open_streams
from birdwatch.windows.pane import Series, counters
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .traffic import START, champion_named, shuffled, traffic, write

LENGTH = 60

WATCHED = {
    "features": {"size": Feature(), "from": Feature(kind="category", most=2)},
    "segments": {"from": Segment(most=2), "size": Segment(kind="number")},
}


class Clock:
    def __init__(self, now=START + 10_000):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def place(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}/streams")
    yield streams
    streams.close()


def settings(**changes):
    return Settings(**{"pane_seconds": LENGTH, "champion": "champion", "lateness_seconds": 30.0, **changes})


def count(place, path, chosen=None, *, limit=500, **options):
    """Tail a place to its end into a new store."""
    store = Store(path, pane_seconds=LENGTH)
    tail = Tail(place, store, chosen or settings(), finite=True, now=Clock(), **options)
    while tail.step(limit, 0.0):
        pass
    tail.finish()
    tail.close()
    return store


def follow(tail):
    """Read all that is there."""
    while tail.step(500, 0.0):
        pass


def letters(place):
    reader = place.reader(["deadletters"])
    return [json.loads(message.value) for message in reader.poll(1000, 0.0)]


def test_each_series_counts_what_a_plain_loop_counts(place, tmp_path):
    events = traffic()
    write(place, events)
    store = count(place, tmp_path / "a.db")
    total = store.pane(0, 2**40)
    scores = [r for _, s, r in events if s == "scores" and r.model == "challenger" and r.version == "2"]
    mine = counters(total[Series("counts", "challenger", "2")])
    assert (mine["events"], mine["errors"]) == (len(scores), sum(r.error is not None for r in scores))
    assert total[Series("score", "challenger", "2")].counts.sum() == sum(r.score is not None for r in scores)
    fleet = counters(total[Series("counts")])
    decisions = [r for _, s, r in events if s == "metrics"]
    outcomes = [r for _, s, r in events if s == "outcomes"]
    assert fleet["requests"] == fleet["decisions"] == len(decisions)
    assert fleet["sla_misses"] == sum(not r.within_sla for r in decisions)
    assert (fleet["outcomes"], fleet["positives"]) == (len(outcomes), sum(r.label > 0 for r in outcomes))
    champion = {r.request_id: r.score for _, s, r in events if s == "scores" and r.model == "champion"}
    canary = {r.request_id: r.score for _, s, r in events if s == "canary"}
    both = [i for i in champion if champion[i] is not None and canary.get(i) is not None]
    pair = dict(
        zip(("n", "sum", "squares", "clipped"), total[Series("pair", "champion", "1", "canary")].counts, strict=False)
    )
    assert pair["n"] == len(both)
    differences = np.array([champion[i] - canary[i] for i in both])
    assert pair["sum"] / 2**20 == pytest.approx(differences.sum(), abs=len(both) / 2**20)
    assert pair["squares"] / 2**20 == pytest.approx((differences**2).sum(), abs=len(both) / 2**20)


def test_the_largest_disagreements_are_kept_by_request(place, tmp_path):
    events = traffic()
    write(place, events)
    store = count(place, tmp_path / "a.db")
    by_model = {
        m: {r.request_id: r.score for _, s, r in events if s == "scores" and r.model == m}
        for m in ("fallback", "champion")
    }
    gaps = {
        i: abs(score - by_model["champion"][i])
        for i, score in by_model["fallback"].items()
        if score is not None and by_model["champion"].get(i) is not None
    }
    largest = sorted(gaps, key=gaps.get, reverse=True)[:3]
    found = [extreme.request_id for _, extreme in store.extremes(0, 2**40, "fallback", "champion", most=3)]
    assert found == largest


def test_any_order_within_the_lateness_and_any_repetition_give_the_same_panes(place, tmp_path):
    events = traffic()
    write(place, events)
    plain = count(place, tmp_path / "a.db", settings(**WATCHED))
    other = open_streams(f"sqlite:{tmp_path}/other")
    again = shuffled(events + events[::5] + events[::7], within=25)
    write(other, again)
    disordered = count(other, tmp_path / "b.db", settings(**WATCHED), limit=37)
    assert disordered.digest() == plain.digest()
    assert sum(a.late for a in disordered.arrivals(0, 2**40).values()) == 0
    assert disordered.arrivals(0, 2**40)["requests"].duplicates > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tail_that_dies_and_starts_again_gives_the_same_panes(place, tmp_path, seed):
    write(place, shuffled(traffic(rate=1.5), within=25))
    plain = count(place, tmp_path / "a.db", settings(**WATCHED))
    store = Store(tmp_path / "b.db", pane_seconds=LENGTH)
    rng = np.random.default_rng(seed)
    lives, read = 0, 1
    while read:
        lives += 1
        tail = Tail(place, store, settings(**WATCHED), finite=True, now=Clock())
        for _ in range(rng.integers(8, 16)):
            read = tail.step(int(rng.integers(200, 600)), 0.0)
        tail.close()  # what was in memory only is gone
    tail = Tail(place, store, settings(**WATCHED), finite=True, now=Clock())
    follow(tail)
    tail.finish()
    assert lives > 1
    assert store.digest() == plain.digest()


def test_what_comes_after_its_pane_was_closed_is_added_joined_and_counted_as_late(place, tmp_path):
    events = traffic()
    held = [e for e in events if e[1] == "scores" and e[2].model == "fallback" and START + 60 <= e[0] < START + 80]
    early = [e for e in events if e not in held and e[0] < START + 200]
    write(place, early)
    store = Store(tmp_path / "b.db", pane_seconds=LENGTH)
    tail = Tail(place, store, settings(**WATCHED), now=Clock())
    follow(tail)
    assert store.is_closed(int(START) + 60)
    write(place, held)
    follow(tail)
    write(place, [e for e in events if e[0] >= START + 200])
    follow(tail)
    tail.finish()
    assert store.arrivals(0, 2**40)["scores"].late == len(held)
    whole = open_streams(f"sqlite:{tmp_path}/whole")
    write(whole, events)
    assert store.digest() == count(whole, tmp_path / "a.db", settings(**WATCHED)).digest()


def test_what_comes_when_nothing_can_be_joined_any_more_is_still_added(place, tmp_path):
    events = traffic()
    held = [e for e in events if e[1] == "scores" and e[2].model == "fallback" and e[0] < START + 20]
    write(place, [e for e in events if e not in held])
    store = Store(tmp_path / "b.db", pane_seconds=LENGTH)
    tail = Tail(place, store, settings(), now=Clock())
    follow(tail)
    write(place, held)
    follow(tail)
    assert store.arrivals(0, 2**40)["scores"].late == len(held)
    whole = open_streams(f"sqlite:{tmp_path}/whole")
    write(whole, events)
    expected = count(whole, tmp_path / "a.db").pane(int(START), int(START) + 60)
    found = store.pane(int(START), int(START) + 60)
    assert (
        found[Series("score", "fallback", "1")].counts.sum() == expected[Series("score", "fallback", "1")].counts.sum()
    )


def test_features_that_come_when_nothing_can_be_joined_any_more_are_still_added(place, tmp_path):
    events = traffic()
    held = [e for e in events if e[1] == "requests" and e[0] < START + 20]
    write(place, [e for e in events if e not in held])
    store = Store(tmp_path / "b.db", pane_seconds=LENGTH)
    tail = Tail(place, store, settings(**WATCHED), now=Clock())
    follow(tail)
    write(place, held)
    follow(tail)
    whole = open_streams(f"sqlite:{tmp_path}/whole")
    write(whole, events)
    expected = count(whole, tmp_path / "a.db", settings(**WATCHED)).pane(0, int(START) + 60)
    found = store.pane(0, int(START) + 60)
    for series in (Series("feature.size"), Series("missing.size"), Series("missing.from")):
        assert found[series].counts.tolist() == expected[series].counts.tolist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"request_id": "x", "request_ts": 1700000041', "truncated"),
        (b'{"request_id": "x", "request_ts": "soon", "ts": 1, "model": "m", "version": "1", "score": 1}', "request_ts"),
        (
            b'{"request_id": "x", "request_ts": 1700000041, "ts": 1, "model": "m", "version": "1", "score": NaN}',
            "invalid",
        ),
        (b'{"request_id": "x", "request_ts": 1700000041, "ts": 1, "model": "m", "version": "1"}', "`score`"),
        (
            b'{"request_id": "x", "request_ts": 1700000041000, "ts": 1, "model": "m", "version": "1", "score": 1}',
            "seconds",
        ),
        (b"\xff\xff\xff\xff\x10", "Arrow"),
        (b"\xfe", ""),
    ],
)
def test_what_cannot_be_read_becomes_a_dead_letter_and_stops_nothing(place, tmp_path, value, reason):
    events = traffic(seconds=120)
    write(place, events[: len(events) // 2])
    place.append("scores", [(b"", value)])
    write(place, events[len(events) // 2 :])
    store = count(place, tmp_path / "a.db")
    (letter,) = letters(place)
    assert letter["stream"] == "scores"
    assert reason in letter["reason"]
    assert counters(store.pane(0, 2**40)[Series("counts")])["requests"] == sum(s == "requests" for _, s, _ in events)


def test_a_score_for_an_unknown_request_is_counted(place, tmp_path):
    events = traffic(seconds=120)
    score = records.Score(
        request_id="nobody", request_ts=START + 5, ts=START + 6, model="champion", version="1", score=0.5
    )
    write(place, [*events, (0, "scores", score)])
    store = count(place, tmp_path / "a.db")
    assert counters(store.pane(0, 2**40)[Series("counts", "champion", "1")])["orphans"] == 1


def test_a_null_score_without_an_error_is_counted_as_null(place, tmp_path):
    score = records.Score(request_id="r", request_ts=START, ts=START, model="m", version="1", score=None)
    write(place, [(0, "scores", score)])
    found = counters(count(place, tmp_path / "a.db").pane(0, 2**40)[Series("counts", "m", "1")])
    assert (found["events"], found["nulls"], found["errors"]) == (1, 1, 0)


def test_a_model_scored_twice_by_two_versions_counts_once(place, tmp_path):
    scores = [
        records.Score(request_id="r", request_ts=START, ts=START + i, model="m", version=str(i), score=0.5)
        for i in (1, 2)
    ]
    write(place, [(0, "scores", score) for score in reversed(scores)])
    found = count(place, tmp_path / "a.db").pane(0, 2**40)
    assert Series("counts", "m", "1") in found
    assert Series("counts", "m", "2") not in found


def test_arrow_payloads_count_as_json_does(place, tmp_path):
    events = traffic()
    write(place, events)
    other = open_streams(f"sqlite:{tmp_path}/arrow")
    for stream in ("requests", "scores", "canary", "metrics", "outcomes"):
        rows = [json.loads(records.encode(r)) for _, s, r in events if s == stream]
        for i in range(0, len(rows), 100):
            names = sorted({name for row in rows for name in row})
            table = pa.table({name: [row.get(name) for row in rows[i : i + 100]] for name in names})
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            other.append(stream, [(b"", sink.getvalue().to_pybytes())])
    chosen = settings(lateness_seconds=1000.0, **WATCHED)  # rows come a hundred at a time
    assert count(other, tmp_path / "b.db", chosen).digest() == count(place, tmp_path / "a.db", chosen).digest()


def test_one_bad_row_of_an_arrow_payload_is_a_dead_letter_and_the_others_count(place, tmp_path):
    table = pa.table(
        {
            "request_id": ["a", None, "c"],
            "request_ts": [START] * 3,
            "ts": [START] * 3,
            "model": ["m"] * 3,
            "version": ["1"] * 3,
            "score": [0.1, 0.2, float("nan")],
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    place.append("scores", [(b"", sink.getvalue().to_pybytes())])
    found = counters(count(place, tmp_path / "a.db").pane(0, 2**40)[Series("counts", "m", "1")])
    assert (found["events"], found["nulls"]) == (2, 1)
    assert "row 1" in letters(place)[0]["reason"]


def test_a_foreign_stream_is_read_through_a_mapping(place, tmp_path):
    mapping = Mapping(
        topic="predictions",
        fields={
            "request_id": "meta.trace",
            "request_ts": "when",
            "model": "model",
            "score": "out.p",
            "elapsed_seconds": "ms",
        },
        constants={"version": "7"},
        units={"elapsed_seconds": 0.001},
    )
    row = {"meta": {"trace": 12}, "when": "2023-11-14T22:14:00Z", "model": "theirs", "out": {"p": "0.25"}, "ms": 40}
    place.append("predictions", [(b"", json.dumps(row).encode())])
    found = count(place, tmp_path / "a.db", settings(mappings={"scores": mapping}))
    ((start, _, _),) = found.rows(0, 2**40, measure="score", model="theirs")
    assert start == START
    (latency,) = found.rows(0, 2**40, measure="latency.model")
    assert latency[1].version == "7"
    from birdwatch.stats.grid import bins_of

    assert latency[2].bins.tolist() == bins_of([0.04]).tolist()


def test_a_mapping_of_an_unknown_field_is_refused_by_name(place, tmp_path):
    store = Store(tmp_path / "a.db", pane_seconds=LENGTH)
    with pytest.raises(SettingsError, match="'skore'"):
        Tail(place, store, settings(mappings={"scores": Mapping(fields={"skore": "x"})}))


def test_a_mapping_that_leaves_out_what_is_needed_is_refused(place, tmp_path):
    store = Store(tmp_path / "a.db", pane_seconds=LENGTH)
    with pytest.raises(SettingsError, match="'request_id'"):
        Tail(place, store, settings(mappings={"scores": Mapping(fields={"score": "x"})}))


def test_a_champion_named_on_the_control_stream_is_in_force_from_then_on(place, tmp_path):
    write(place, [(0, "control", champion_named())])
    write(place, traffic(seconds=120))
    store = count(place, tmp_path / "a.db", settings(champion=""))
    assert Series("pair", "fallback", "1", "champion") in store.pane(0, 2**40)


def test_panes_are_judged_inside_the_transaction_that_closes_them(place, tmp_path):
    write(place, traffic())
    seen = []
    store = Store(tmp_path / "a.db", pane_seconds=LENGTH)
    tail = Tail(
        place,
        store,
        settings(),
        on_closed=lambda until: seen.append((until, store.is_closed(until - LENGTH))),
        now=Clock(),
    )
    follow(tail)
    assert len(seen) > 3
    assert all(written for _, written in seen[1:])


def test_when_judging_fails_nothing_of_the_step_is_kept(place, tmp_path):
    write(place, traffic())
    store = Store(tmp_path / "a.db", pane_seconds=LENGTH)

    def fail(_until):
        raise RuntimeError("the judge is ill")

    tail = Tail(place, store, settings(), on_closed=fail, now=Clock())
    with pytest.raises(RuntimeError, match="ill"):
        follow(tail)
    assert store.closed_range() is None


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_objects_nested_beyond_reading_are_dead_letters(place, tmp_path, depth):
    for stream in ("scores", "control"):
        place.append(stream, [(b"", b'{"zz":' + b"[" * depth)])
    store = count(place, tmp_path / "a.db")
    assert {letter["stream"] for letter in letters(place)} == {"control", "scores"}
    assert store.closed_range() is None


@pytest.mark.parametrize(
    ("mappings", "says"),
    [
        ({"scores": Mapping(fields={"request_id": "a"}, units={"model": 2.0})}, "'model' is not a number"),
        ({"scores": Mapping(units={"elapsed_seconds": 0.001})}, "say where"),
        ({"control": Mapping(fields={"model": "m"})}, "only its `topic`"),
        ({"skores": Mapping(topic="x")}, "no such stream"),
    ],
)
def test_a_mapping_that_would_do_nothing_is_refused(place, tmp_path, mappings, says):
    store = Store(tmp_path / "a.db", pane_seconds=LENGTH)
    with pytest.raises(SettingsError, match=says):
        Tail(place, store, settings(mappings=mappings))
