"""Segments: every part of a pane is what a pane of that part's requests alone would be."""

import itertools
import math
from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.config import Segment, Settings
from birdwatch.records import Request, Score, encode
from birdwatch.stats.grid import bins_of
from birdwatch.streams import Message
from birdwatch.windows.build import Grid, build
from birdwatch.windows.decode import Decoder
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.names import Names
from birdwatch.windows.pane import Counts, Series, counters, merge
from birdwatch.windows.segments import bands, fold, limits, segments

START = 1_700_000_040.0
IN_PARTS = {"counts", "score", "pair", "difference", "apart"}
SEGMENTS = {
    "origin": Segment(most=2),
    "distance": Segment(kind="number"),
    "haul": Segment(kind="number", path="distance", edges=[500, 1000]),
}


def flights(n=400, seed=1):
    """Give requests and scores: three airports of unequal size, some distances missing, some scores, some requests."""
    rng = np.random.default_rng(seed)
    requests, scores = [], []
    for i in range(n):
        features = {"origin": str(rng.choice(["JFK", "LGA", "EWR", "TEB"], p=[0.4, 0.3, 0.2, 0.1]))}
        if rng.random() < 0.9:
            features["distance"] = float(rng.lognormal(6.7, 0.8))
        base = float(rng.uniform(0.2, 0.8))
        if rng.random() < 0.95:
            requests.append(Request(id=f"r{i}", ts=START, received_ts=START, deadline_seconds=1, features=features))
        for model in ("champion", "challenger", "canary"):
            fate = rng.random()
            failed = fate < 0.03
            score = None if fate < 0.05 else base + float(rng.normal(0, 0.02))
            scores.append(
                Score(
                    request_id=f"r{i}",
                    request_ts=START,
                    ts=START,
                    model=model,
                    version="2" if i % 2 and model == "challenger" else "1",
                    score=score,
                    error="it broke" if failed else None,
                )
            )
    return requests, scores


def count(requests, scores, dimensions=SEGMENTS):
    settings = Settings(segments=dimensions)
    names, inputs = Names(), Inputs.of(settings)
    columns = {}
    for stream, records in (
        ("requests", requests),
        ("scores", [s for s in scores if s.model != "canary"]),
        ("canary", [s for s in scores if s.model == "canary"]),
    ):
        decoder = Decoder(stream, names, None, inputs, now=lambda: START)
        columns[stream], _, faults = decoder(
            [Message(stream, 0, i, b"", encode(record)) for i, record in enumerate(records)]
        )
        assert faults == []
    return build(columns, names, Grid("probability", 1.0), "champion", "canary", inputs).pane


def as_bytes(pane):
    return {series: (c.bins.tobytes(), c.counts.tobytes()) for series, c in pane.items()}


def cell_of(value):
    """Name the half octave of a positive number, from scratch."""
    low = 2.0 ** math.floor(math.log2(value))
    middle = 1.5 * low
    low, high = (low, middle) if value < middle else (middle, 2 * low)
    return "..".join(str(int(edge)) if edge == int(edge) else repr(edge) for edge in (low, high))


def part_of(dimension, features, kept):
    distance = None if features is None else features.get("distance")
    if dimension == "origin":
        name = None if features is None else features["origin"]
        return "(missing)" if name is None else name if name in kept else "(other)"
    if distance is None:
        return "(missing)"
    if dimension == "distance":
        return cell_of(distance)
    return "under 500" if distance < 500 else "500 to 1000" if distance < 1000 else "from 1000"


@pytest.fixture(scope="module")
def scene():
    requests, scores = flights()
    return requests, scores, count(requests, scores)


@pytest.mark.parametrize("dimension", SEGMENTS)
def test_each_part_is_what_a_pane_of_its_requests_alone_is(scene, dimension):
    requests, scores, whole = scene
    features = {r.id: r.features for r in requests}
    kept = {name for name, _ in Counter(f["origin"] for f in features.values()).most_common(2)}
    groups = {}
    for score in scores:
        groups.setdefault(part_of(dimension, features.get(score.request_id), kept), []).append(score)
    assert {s.segment for s in whole if s.segment.startswith(f"{dimension}=")} == {f"{dimension}={g}" for g in groups}
    for part, mine in groups.items():
        ids = {s.request_id for s in mine}
        alone = count([r for r in requests if r.id in ids], mine, {})
        expected = {s: c for s, c in alone.items() if s.measure in IN_PARTS}
        found = {s._replace(segment=""): c for s, c in whole.items() if s.segment == f"{dimension}={part}"}
        if part == "(missing)":  # orphans are the whole's: a part that has no request cannot tell
            expected = {s: without_orphans(c) if s.measure == "counts" else c for s, c in expected.items()}
        assert as_bytes(found) == as_bytes(expected)


def without_orphans(counts):
    keep = counts.bins != 8
    return Counts(counts.bins[keep], counts.counts[keep])


@pytest.mark.parametrize("dimension", SEGMENTS)
def test_parts_add_up_to_the_whole(scene, dimension):
    _, _, whole = scene
    parts = merge({s._replace(segment=""): c} for s, c in whole.items() if s.segment.startswith(f"{dimension}="))
    for series, counts in parts.items():
        together = without_orphans(whole[series]) if series.measure == "counts" else whole[series]
        assert as_bytes({series: counts}) == as_bytes({series: together})
    assert set(parts) == {s for s in whole if s.measure in IN_PARTS and not s.segment}


def test_what_is_counted_of_everything_does_not_depend_on_segments(scene):
    requests, scores, whole = scene
    assert as_bytes({s: c for s, c in whole.items() if not s.segment}) == as_bytes(count(requests, scores, {}))


def test_the_order_and_the_repetition_of_rows_do_not_matter(scene):
    requests, scores, whole = scene
    rng = np.random.default_rng(2)

    def disturbed(records):
        again = [*records, *records[::3]]
        return [again[i] for i in rng.permutation(len(again))]

    assert as_bytes(count(disturbed(requests), disturbed(scores))) == as_bytes(whole)


def test_without_any_request_all_is_of_requests_that_are_missing():
    _, scores = flights(20)
    pane = count([], scores)
    assert segments(pane) == {name: [f"{name}=(missing)"] for name in sorted(SEGMENTS)}
    mine = counters(pane[Series("counts", "champion", "1", segment="origin=(missing)")])
    assert mine["events"] == counters(pane[Series("counts", "champion", "1")])["events"]


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (0, "x=0..0"),
        (-0.0, "x=0..0"),
        (1e-9, "x=0..0"),
        (1, "x=1..1.5"),
        (1.4999, "x=1..1.5"),
        (1.5, "x=1.5..2"),
        (-3, "x=-4..-3"),
        (-2.5, "x=-3..-2"),
        (0.3, "x=0.25..0.375"),
        (2.0**40, "x=1099511627776..inf"),
        (1e300, "x=1099511627776..inf"),
        (-1e300, "x=-inf..-1099511627776"),
        (True, "x=1..1.5"),
        ("1", "x=(missing)"),
        (None, "x=(missing)"),
    ],
)
def test_a_number_falls_into_half_an_octave(value, segment):
    asked = Request(id="r", ts=START, received_ts=START, deadline_seconds=1, features={"x": value})
    pane = count([asked], [], {"x": Segment(kind="number")})
    assert segments(pane) == {"x": [segment]}


def test_an_edge_belongs_to_the_band_above_it():
    asked = [
        Request(id=f"r{value}", ts=START, received_ts=START, deadline_seconds=1, features={"x": value})
        for value in (-1, 0, 499.9, 500, 999, 1000.0)
    ]
    pane = count(asked, [], {"x": Segment(kind="number", edges=[0, 500, 1000])})
    assert {s.segment: int(c.counts[0]) for s, c in pane.items() if s.segment} == {
        "x=under 0": 1,
        "x=0 to 500": 2,
        "x=500 to 1000": 2,
        "x=from 1000": 1,
    }


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_cells_are_in_order_do_not_overlap_and_hold_their_numbers(values):
    asked = [
        Request(id=f"r{i}", ts=START, received_ts=START, deadline_seconds=1, features={"x": value})
        for i, value in enumerate(values)
    ]
    found = segments(count(asked, [], {"x": Segment(kind="number")}))["x"]
    edges = [limits(segment) for segment in found]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(edges))
    assert all(any(low <= value <= high or abs(value) < 2**-20 for low, high in edges) for value in values)


def as_cells(values):
    """Count requests by cell, as a pane does."""
    tally = Counter(cell_of(value) for value in values)
    return {Series("counts", segment=f"x={cell}"): Counts.of([0], [n]) for cell, n in tally.items()}


@pytest.mark.parametrize("k", [1, 2, 4, 10])
def test_bands_have_about_as_many_requests_each_and_fold_to_all_there_is(k):
    rng = np.random.default_rng(4)
    values = rng.lognormal(3, 2, 20_000)
    pane = as_cells(values)
    edges = bands(pane, "x", k)
    assert (len(edges), edges[0], edges[-1]) == (k + 1, -math.inf, math.inf)
    folded = fold(pane, "x", edges)
    sizes = [int(folded[s].counts[0]) for s in sorted(folded, key=lambda s: limits(s.segment))]
    inside = np.histogram(values, bins=edges)[0]
    assert sizes == inside.tolist()
    heaviest = max(int(c.counts[0]) for c in pane.values())
    assert all(abs(size - values.size / k) <= heaviest for size in sizes)


def test_bands_of_a_reference_hold_what_comes_later_and_lies_beyond_it():
    edges = bands(as_cells([2.0, 3.0, 5.0, 9.0]), "x", 2)
    folded = fold(as_cells([0.5, 100.0]), "x", edges)
    assert {s.segment: int(c.counts[0]) for s, c in folded.items()} == {"x=-inf..4": 1, "x=4..inf": 1}


def test_folding_leaves_what_is_missing_and_the_other_dimensions_alone(scene):
    _, _, whole = scene
    folded = fold(whole, "distance", bands(whole, "distance", 3))
    assert {s.segment for s in folded if s.measure == "score"} == {
        s.segment for s in folded if s.measure == "counts" and not s.model
    }
    assert len(segments(folded)["distance"]) == 4
    assert segments(folded)["distance"][-1] == "distance=(missing)"
    assert {s.segment for s in fold(whole, "haul", [-math.inf, math.inf])} == {
        f"haul={part}" for part in ("under 500", "500 to 1000", "from 1000", "(missing)")
    }
    champion = Series("score", "champion", "1")
    assert as_bytes(merge({champion: c} for s, c in folded.items() if s._replace(segment="") == champion)) == as_bytes(
        {champion: whole[champion]}
    )


def test_a_heavy_cell_makes_fewer_bands():
    assert bands(as_cells([1.0] * 97 + [2.0, 4.0, 8.0]), "x", 4) == [-math.inf, 2.0, math.inf]
    assert bands(as_cells([1.0]), "x", 4) == [-math.inf, math.inf]
    assert bands({}, "x") == []


def test_without_requests_the_events_of_models_decide():
    cells = {Series("counts", "m", segment=f"x={cell}"): Counts.of([1], [5]) for cell in ("1..1.5", "2..3")}
    assert bands(cells, "x", 2) == [-math.inf, 2.0, math.inf]


def test_there_is_at_least_one_band():
    with pytest.raises(ValueError, match="at least one band, not 0"):
        bands({}, "x", 0)


def test_a_score_on_the_grid_is_counted_in_the_part_of_its_request():
    asked = Request(id="r", ts=START, received_ts=START, deadline_seconds=1, features={"origin": "JFK"})
    said = Score(request_id="r", request_ts=START, ts=START, model="champion", version="1", score=0.25)
    pane = count([asked], [said], {"origin": Segment()})
    found = pane[Series("score", "champion", "1", segment="origin=JFK")]
    assert found.bins.tolist() == bins_of([0.25], "probability").tolist()
