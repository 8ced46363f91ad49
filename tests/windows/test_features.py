"""Watched inputs: what a request has, lacks, or has of the wrong type is counted, whatever the order and the format."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.config import Feature, Mapping, Segment, Settings, load_settings
from birdwatch.content import content
from birdwatch.errors import SettingsError
from birdwatch.records import Request, encode
from birdwatch.stats.grid import bins_of
from birdwatch.streams import Message, open_streams
from birdwatch.streams.arrow import encode_table
from birdwatch.windows.build import Grid, build, join_columns
from birdwatch.windows.decode import Decoder
from birdwatch.windows.features import categories
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.names import Names
from birdwatch.windows.pane import PRESENCE, Series, counters
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .traffic import START

FEATURES = {
    "visib": Feature(path="weather.visib"),
    "age": Feature(),
    "carrier": Feature(kind="category", most=2),
}
SAMPLES = content("sample_streams")


def chosen(**changes):
    return Settings(**{"pane_seconds": 60, "lateness_seconds": 30.0, "features": FEATURES, **changes})


def request(number, features, ts=START):
    return encode(Request(id=f"r{number}", ts=ts, received_ts=ts, deadline_seconds=1, features=features))


def read(values, settings=None):
    """Decode messages of requests into columns."""
    settings = settings or chosen()
    decoder = Decoder(
        "requests", Names(), settings.mappings.get("requests"), Inputs.of(settings), now=lambda: START + 1e6
    )
    columns, _, faults = decoder([Message("requests", 0, i, b"", value) for i, value in enumerate(values)])
    return columns, faults


def count(parts, settings=None):
    """Count columns of requests, decoded in several parts, as one pane."""
    settings = settings or chosen()
    return build({"requests": join_columns(parts)}, Names(), Grid("probability", 1.0), inputs=Inputs.of(settings)).pane


def as_bytes(pane):
    return {series: (c.bins.tobytes(), c.counts.tobytes()) for series, c in pane.items()}


def presence(pane, name):
    return tuple(counters(pane[Series(f"missing.{name}")], PRESENCE).values())


def of_category(pane, name):
    return {s.segment: int(c.counts.sum()) for s, c in pane.items() if s.measure == f"category.{name}"}


def tail(place, path, settings):
    store = Store(path, pane_seconds=settings.pane_seconds)
    tailing = Tail(open_streams(place), store, settings, finite=True, now=lambda: START + 1e6)
    while tailing.step(1000, 0.0):
        pass
    tailing.finish()
    tailing.close()
    return store, tailing.dead_letters


@pytest.mark.parametrize(
    ("value", "where", "counted"),
    [
        (3, "present", 3.0),
        (2.5, "present", 2.5),
        (-1e300, "present", -1e300),
        (True, "present", 1.0),
        (False, "present", 0.0),
        (None, "missing", None),
        ("3", "wrong type", None),
        ("", "wrong type", None),
        ([3], "wrong type", None),
        ({"a": 3}, "wrong type", None),
    ],
)
def test_a_number_is_on_the_real_grid_and_what_is_none_is_counted_apart(value, where, counted):
    pane = count([read([request(0, {"age": value})])[0]])
    assert counters(pane[Series("missing.age")], PRESENCE) == {name: int(name == where) for name in PRESENCE}
    if counted is None:
        assert Series("feature.age") not in pane
    else:
        assert pane[Series("feature.age")].bins.tolist() == bins_of([counted]).tolist()


@pytest.mark.parametrize(
    ("value", "where", "category"),
    [
        ("JFK", "present", "JFK"),
        ("Zürich", "present", "Zürich"),
        (7, "present", "7"),
        (7.0, "present", "7"),
        (7.5, "present", "7.5"),
        (True, "present", "true"),
        ("(other)", "present", "\\(other)"),
        ("\\(other)", "present", "\\\\(other)"),
        ("x" * 61, "present", "x" * 60 + "…"),
        (2**60 + 1, "present", str(2**60 + 1)),
        (None, "missing", None),
        ("", "missing", None),
        (["JFK"], "wrong type", None),
        ({}, "wrong type", None),
    ],
)
def test_a_category_is_counted_by_its_text(value, where, category):
    pane = count([read([request(0, {"carrier": value})])[0]])
    assert counters(pane[Series("missing.carrier")], PRESENCE) == {name: int(name == where) for name in PRESENCE}
    assert of_category(pane, "carrier") == ({category: 1} if category else {})


@pytest.mark.parametrize(
    "value",
    [
        b'{"id": "r", "ts": 1700000040}',
        b'{"id": "r", "ts": 1700000040, "features": null}',
        b'{"id": "r", "ts": 1700000040, "features": {}}',
        b'{"id": "r", "ts": 1700000040, "features": []}',
        b'{"id": "r", "ts": 1700000040, "features": "none"}',
        b'{"id": "r", "ts": 1700000040, "features": {"weather": 7}}',
        b'{"id": "r", "ts": 1700000040, "features": {"age": 1e999, "weather": {"visib": null}}}',
    ],
)
def test_a_request_counts_whatever_its_features_are(value):
    columns, faults = read([value])
    pane = count([columns])
    assert faults == []
    assert counters(pane[Series("counts")])["requests"] == 1
    assert {presence(pane, name) for name in FEATURES} == {(1, 0, 0)}


def test_a_message_that_is_no_request_is_still_a_dead_letter():
    _, faults = read([b'{"id": "r", "ts": "soon", "features": {"age": 1}}', b'{"id": 1', b'{"features": {"age": 1}}'])
    assert len(faults) == 3


def test_a_feature_is_found_by_its_path_even_where_names_are_no_identifiers():
    settings = chosen(features={"wind": Feature(path="wind speed.in m/s")})
    pane = count([read([request(0, {"wind speed": {"in m/s": 4.0}, "class": 1})], settings)[0]], settings)
    assert pane[Series("feature.wind")].bins.tolist() == bins_of([4.0]).tolist()


def test_beyond_the_cap_the_rarest_are_counted_together_and_of_equals_the_last_by_name():
    names = ["a", "b", "b", "c", "c", "d", "d", "d", "(other)"]
    pane = count([read([request(i, {"carrier": name}) for i, name in enumerate(names)])[0]])
    assert of_category(pane, "carrier") == {"d": 3, "b": 2, "(other)": 4}


VALUES = st.dictionaries(
    st.sampled_from(["age", "carrier", "weather"]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["a", "b", "c", "d", "", "(other)"]),
        st.fixed_dictionaries({"visib": st.one_of(st.none(), st.floats(0, 10), st.just("far"))}),
    ),
)


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_any_order_any_parting_and_any_repetition_give_the_same_pane(features, random):
    values = [request(number, each) for number, each in enumerate(features)]
    plain = as_bytes(count([read(values)[0]]))
    again = values + values[::2]
    random.shuffle(again)
    cut = random.randrange(len(again))
    parts = [read(part)[0] for part in (again[:cut], again[cut:]) if part]
    assert as_bytes(count(parts)) == plain


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.lists(VALUES, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_a_request_sent_twice_with_other_features_counts_once_and_as_the_same_one(features, random):
    values = [request(0, each) for each in features]
    plain = as_bytes(count([read(values)[0]]))
    random.shuffle(values)
    assert as_bytes(count([read(values)[0]])) == plain
    assert counters(count([read(values)[0]])[Series("counts")])["requests"] == 1


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "", "(x"]), max_size=40), st.integers(1, 4))
def test_categories_are_those_of_a_plain_counter(values, most):
    codes, labels = categories(np.array([v.encode() for v in values], dtype="S"), most)
    tally = Counter(v for v in values if v)
    kept = sorted(tally, key=lambda name: (-tally[name], name))[:most]
    expected = Counter(
        ("(missing)" if not v else "(other)" if v not in kept else "\\(x" if v == "(x" else v) for v in values
    )
    assert Counter(labels[code] for code in codes.tolist()) == expected


FOREIGN = [
    {"trace": 1, "when": START, "payload": {"vis": 1.5, "who": {"age": 7}}, "airline": "AA"},
    {"trace": 2, "when": START, "payload": {"vis": "far", "who": {"age": None}}, "airline": None},
    {"trace": 3, "when": START, "payload": {"vis": None, "who": {"age": 2.0}}, "airline": "UA"},
    {"trace": 4, "when": START, "payload": {"vis": math.nan, "who": None}, "airline": "AA"},
]
MAPPED = {
    "topic": "asked",
    "fields": {
        "id": "trace",
        "ts": "when",
        "features.weather.visib": "payload.vis",
        "features.age": "payload.who.age",
        "features.carrier": "airline",
    },
    "units": {"features.weather.visib": 1000},
}


def test_features_are_found_in_somebody_elses_stream(tmp_path):
    place = f"sqlite:{tmp_path}/streams"
    rows = [json.dumps(row).replace("NaN", "null").encode() for row in FOREIGN]
    open_streams(place).append("asked", [(b"", row) for row in rows])
    store, letters = tail(place, tmp_path / "a.db", chosen(mappings={"requests": MAPPED}))
    pane = store.pane(0, 2**40)
    assert letters == 0
    assert pane[Series("feature.visib")].bins.tolist() == bins_of([1500.0]).tolist()
    assert [presence(pane, name) for name in ("visib", "age", "carrier")] == [(2, 1, 1), (2, 0, 2), (1, 0, 3)]
    assert of_category(pane, "carrier") == {"AA": 2, "UA": 1}


def test_a_whole_object_can_be_the_features(tmp_path):
    settings = chosen(
        features={"age": Feature(path="who.age")},
        mappings={"requests": Mapping(fields={"id": "trace", "ts": "when", "features": "payload"})},
    )
    columns, faults = read([json.dumps(row).replace("NaN", "null").encode() for row in FOREIGN], settings)
    assert faults == []
    assert presence(count([columns], settings), "age") == (2, 0, 2)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_have_features_in_their_columns(tmp_path, suffix):
    rows = {
        "id": ["a", "b", "c", "d"],
        "ts": [START] * 4,
        "vis": [1.5, None, float("inf"), 2.0],
        "age": ["x", "y", "3", ""],
        "airline": ["AA", "UA", None, "AA"],
    }
    (tmp_path / "in").mkdir()
    if suffix == "csv":
        lines = [",".join("" if v is None else str(v) for v in row) for row in zip(*rows.values(), strict=True)]
        (tmp_path / "in" / "requests.csv").write_text("\n".join([",".join(rows), *lines]))
    else:
        pq.write_table(pa.table(rows), tmp_path / "in" / "requests.parquet")
    fields = {"id": "id", "ts": "ts", "features.weather.visib": "vis", "features.age": "age"}
    mapping = Mapping(fields={**fields, "features.carrier": "airline"})
    store, letters = tail(f"files:{tmp_path}/in", tmp_path / "a.db", chosen(mappings={"requests": mapping}))
    pane = store.pane(0, 2**40)
    assert letters == 0
    assert presence(pane, "visib") == (2, 0, 2)
    assert pane[Series("feature.visib")].bins.tolist() == bins_of([1.5, 2.0]).tolist()
    assert presence(pane, "age")[1] == (3 if suffix == "csv" else 4)  # a CSV's empty text is no text at all
    assert of_category(pane, "carrier") == {"AA": 2, "UA": 1}


def test_arrow_rows_of_our_own_count_as_json_does():
    features = [
        {"weather": {"visib": 1.5}, "age": 3, "carrier": "AA"},
        {"weather": {"visib": None}, "age": None, "carrier": "UA"},
        {"weather": None, "age": 4, "carrier": None},
    ]
    table = pa.table({"id": ["r0", "r1", "r2"], "ts": [START] * 3, "features": features})
    arrow, faults = read([encode_table(table)])
    assert faults == []
    plain, _ = read([request(i, each) for i, each in enumerate(features)])
    assert as_bytes(count([arrow])) == as_bytes(count([plain]))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": "a", "ts": "b"}, "say where 'features.age' is to be found"),
        ({"id": "a", "ts": "b", "features.age": "c", "features.size": "d"}, "nothing watches 'features.size'"),
        ({"id": "a", "ts": "b", "features.age": "c", "feature.age": "d"}, "no field 'feature.age'"),
    ],
)
def test_a_mapping_that_does_not_fit_what_is_watched_is_refused(fields, says):
    settings = chosen(features={"age": Feature()}, mappings={"requests": Mapping(fields=fields)})
    with pytest.raises(SettingsError, match=says):
        read([], settings)


def test_a_category_has_no_unit():
    mapping = Mapping(fields={"id": "a", "ts": "b", "features.carrier": "c"}, units={"features.carrier": 2.0})
    with pytest.raises(SettingsError, match=r"'features\.carrier' is not a number"):
        read([], chosen(features={"carrier": Feature(kind="category")}, mappings={"requests": mapping}))


def test_the_recorded_flights_are_counted_as_a_plain_loop_counts_them(tmp_path):
    watched = {
        "visib": Feature(),
        "distance": Feature(),
        "origin": Feature(kind="category"),
        "dest": Feature(kind="category", most=10),
        "captain": Feature(),
    }
    settings = load_settings(SAMPLES / "birdwatch.yaml").model_copy(update={"features": watched})
    folder = SAMPLES / "2013-05-14"
    store, letters = tail(f"files:{folder}", tmp_path / "a.db", settings)
    reader = open_streams(f"files:{folder}").reader(["requests"])
    asked = []
    while found := reader.poll(10_000, 0.0):
        asked += [json.loads(message.value)["features"] for message in found]
    reader.close()
    pane = store.pane(0, 2**40)
    assert letters == 0
    for name in ("visib", "distance"):
        values = [f[name] for f in asked if f.get(name) is not None]
        expected = Counter(bins_of(values).tolist())
        found = pane[Series(f"feature.{name}")]
        assert dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True)) == expected
        assert presence(pane, name) == (len(asked) - len(values), 0, len(values))
    assert of_category(pane, "origin") == Counter(f["origin"] for f in asked)
    assert sum(of_category(pane, "dest").values()) == len(asked)
    assert presence(pane, "captain") == (len(asked), 0, 0)


def test_a_watched_path_can_be_a_feature_and_a_segment():
    settings = chosen(
        features={"age": Feature(), "group": Feature(kind="category", path="age")},
        segments={"age": Segment(kind="number")},
    )
    pane = count([read([request(0, {"age": 7})], settings)[0]], settings)
    assert of_category(pane, "group") == {"7": 1}
    assert presence(pane, "age") == (0, 0, 1)


def test_the_guide_is_followed_to_the_letter(tmp_path):
    guide = (Path(__file__).parents[2] / "docs/guide/own-data.md").read_text()
    written = {}
    for text in re.findall(r"```text\n(.*?)```", guide, re.DOTALL):
        written |= yaml.safe_load(text)
    rows = [
        {
            "trace": i,
            "when": START,
            "payload": {"amount_cents": 100 * i},
            "geo": {"country": "NZ" if i % 2 else "CH"},
            "user": {"vip": i == 3, "years": i},
        }
        for i in range(10)
    ]
    place = f"sqlite:{tmp_path}/streams"
    open_streams(place).append("asked", [(b"", json.dumps(row).encode()) for row in rows])
    (tmp_path / "birdwatch.yaml").write_text(yaml.safe_dump({"pane_seconds": 60, **written}))
    store, letters = tail(place, tmp_path / "a.db", load_settings(tmp_path / "birdwatch.yaml"))
    pane = store.pane(0, 2**40)
    assert letters == 0
    assert of_category(pane, "country") == {"CH": 5, "NZ": 5}
    assert pane[Series("feature.vip")].counts.tolist() == [9, 1]
    assert pane[Series("feature.amount")].bins.tolist() == bins_of(np.arange(10.0)).tolist()
    assert store.segments()["tenure"] == ["tenure=1 to 5", "tenure=from 5", "tenure=under 1"]
    assert store.segments()["country"] == ["country=CH", "country=NZ"]
    assert "amount=2..3" in store.segments()["amount"]
