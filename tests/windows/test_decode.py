"""Whatever bytes come: each message gives rows or faults, never an end; and foreign ones are read as their mapping says."""

import json
import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from birdwatch.config import Feature, Mapping, Settings
from birdwatch.errors import SettingsError
from birdwatch.records import encode
from birdwatch.streams import Message
from birdwatch.streams.arrow import encode_table
from birdwatch.testing import a_decision, a_request, a_score, an_outcome
from birdwatch.windows.decode import COUNTED, Decoder
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.names import Names

NOW = 1_700_000_000.0
HOUR = 3600.0


def decoder(stream="scores", mapping=None, **options):
    return Decoder(stream, Names(), mapping, now=lambda: NOW, **options)


def decode(values, stream="scores", mapping=None, **options):
    """Decode values; give the rows' columns, their origins and the faults."""
    messages = [Message(stream, 0, at, b"k", value) for at, value in enumerate(values)]
    return decoder(stream, mapping, **options)(messages)


def scored(**fields):
    return encode(a_score(**{"request_ts": NOW, "ts": NOW, **fields}))


# --- many at once -----------------------------------------------------------------------------------------------------

SOUND = scored(request_id="sound", output=[1, 2], error="none, but a comma")
HALVES = SOUND.split(b",", 1)
HALVES_OF_A_LIST = SOUND.split(b"[1,")[0] + b"[1", b"2]" + SOUND.split(b"2]")[1]
HALVES_OF_A_TEXT = tuple(SOUND.split(b", but"))
TWO = SOUND + b"," + SOUND
TWO_APART = SOUND + b",7," + SOUND
BROKEN = [
    b"",
    b" ",
    b"{",
    b"{}",
    b"[]",
    b"7",
    b'"text"',
    b"null",
    SOUND[:-1],
    SOUND + b"]",
    b"\xff" + SOUND,
    TWO,
    TWO_APART,
]
ALONE = st.builds(
    lambda score, ts, model: [scored(score=score, request_ts=ts, model=model)],
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([NOW, NOW - HOUR, NOW + HOUR, 0.0]),
    st.sampled_from(["champion", "challenger", "é"]),
)
TORN = st.sampled_from([HALVES, HALVES_OF_A_LIST, HALVES_OF_A_TEXT])


@settings(max_examples=150, deadline=None)
@given(st.lists(ALONE | ALONE | st.sampled_from(BROKEN).map(lambda value: [value]) | TORN, min_size=1, max_size=8))
@example([[SOUND], HALVES, [TWO]])
@example([HALVES, [SOUND, TWO]])
@example([HALVES_OF_A_LIST, [TWO_APART]])
@example([HALVES_OF_A_TEXT, [TWO], [TWO_APART]])
def test_messages_read_at_once_give_to_the_bit_what_they_give_one_by_one(groups):
    messages = [Message("scores", 0, at, b"k", value) for at, value in enumerate(v for group in groups for v in group)]
    at_once = decoder()
    one_by_one = decoder()
    one_by_one._together = lambda _: None
    found, expected = at_once(messages), one_by_one(messages)
    assert found[2] == expected[2]
    assert found[1].tolist() == expected[1].tolist()
    assert found[0].keys() == expected[0].keys()
    for name, column in expected[0].items():
        assert found[0][name].dtype == column.dtype
        np.testing.assert_array_equal(found[0][name], column)


def test_sound_messages_are_read_at_once():
    reading = decoder()
    reading._from_json = lambda _: pytest.fail("one was read alone")
    columns, origin, faults = reading([Message("scores", 0, at, b"k", SOUND) for at in range(3)])
    assert columns["id"].size == 3
    assert origin.tolist() == [0, 1, 2]
    assert not faults


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ts", "says"),
    [
        (NOW + HOUR, "more than 600 s ahead of the clock (ahead_seconds)"),
        (NOW + 601, "more than 600 s ahead"),
        (0.0, "before 2000-01-01T00:00:00Z (earliest)"),
        (-1e300, "before 2000"),
        (253_402_300_799.0, "ahead"),  # 9999
        (NOW * 1e3, "are these milliseconds? As such it is 2023-11-14T22:13:20Z"),
        (NOW * 1e6, "are these microseconds?"),
        (NOW * 1e9, "are these nanoseconds?"),
        (1e308, "ahead"),
    ],
)
@pytest.mark.parametrize("stream", ["requests", "scores", "metrics", "outcomes"])
def test_a_time_at_which_nothing_can_have_happened_is_out_of_range(stream, ts, says):
    record = {
        "requests": a_request(ts=ts),
        "scores": a_score(request_ts=ts),
        "metrics": a_decision(request_ts=ts),
        "outcomes": an_outcome(ts=ts),
    }[stream]
    columns, _, (fault,) = decode([encode(record)], stream)
    assert columns["id"].size == 0
    assert fault.kind == "out of range"
    assert "is out of range in Unix seconds" in fault.reason
    assert says in fault.reason


@pytest.mark.parametrize("ts", [NOW + 600, NOW, NOW - HOUR, NOW - 10 * 365 * 86_400, 946_684_800.0])
def test_what_is_old_is_late_and_not_out_of_range(ts):
    columns, _, faults = decode([scored(request_ts=ts)])
    assert faults == []
    assert columns["time"].tolist() == [ts]


def test_the_range_can_be_set():
    assert decode([scored(request_ts=5.0)], earliest=0.0)[2] == []
    assert decode([scored(request_ts=NOW + HOUR)], ahead_seconds=7200.0)[2] == []
    assert decode([scored(request_ts=NOW + 1)], ahead_seconds=0.0)[2][0].kind == "out of range"


def test_only_the_row_out_of_range_is_a_fault():
    columns, origin, faults = decode([scored(request_id="a"), scored(request_ts=1.0), scored(request_id="b")])
    assert columns["name"].tolist() == [b"a", b"b"]
    assert origin.tolist() == [0, 2]
    assert [fault.message.offset for fault in faults] == [1]


def test_a_row_of_an_arrow_payload_that_is_out_of_range_is_a_fault_alone():
    rows = [{**json.loads(scored(request_id=str(n))), "request_ts": NOW * 1000 ** (n == 1)} for n in range(3)]
    columns, origin, (fault,) = decode([encode_table(pa.Table.from_pylist(rows))])
    assert columns["name"].tolist() == [b"0", b"2"]
    assert origin.tolist() == [0, 0]
    assert fault.reason.startswith("row 1: request_ts = 1700000000000.0 is out of range")
    assert json.loads(fault.message.value)["request_id"] == "1"


# --- many records in a message ---------------------------------------------------------------------------------------

FLEET = Mapping(
    topic="decided",
    each="decision.models",
    fields={
        "request_id": "trace.id",
        "request_ts": "when_ms",
        "model": "each.key",
        "version": "each.value.release",
        "score": "each.value.out.p",
        "elapsed_seconds": "each.value.ms",
        "queue_seconds": "queue_ms",
    },
    units={"elapsed_seconds": 0.001, "queue_seconds": 0.001},
)


def decided(models, **more):
    said = {"trace": {"id": "r1"}, "when_ms": NOW, "queue_ms": 2, "decision": {"models": models}, **more}
    return json.dumps(said).encode()


def entry(p=0.5, release="7", ms=40, **more):
    return {"release": release, "out": {"p": p}, "ms": ms, **more}


def pairs_of(values, mapping=FLEET):
    names = Names()
    reads = Decoder("scores", names, mapping, now=lambda: NOW)
    columns, _, faults = reads([Message("decided", 0, at, b"k", value) for at, value in enumerate(values)])
    return [(*names.pairs[who], score) for who, score in zip(columns["who"], columns["score"], strict=True)], faults


def test_an_object_of_many_records_by_name_gives_a_row_for_each():
    columns, origin, faults = decode([decided({"m1": entry(0.25), "m2": entry(0.75)})], mapping=FLEET)
    assert faults == []
    assert columns["score"].tolist() == [0.25, 0.75]
    assert columns["elapsed_seconds"].tolist() == pytest.approx([0.04, 0.04])
    assert columns["queue_seconds"].tolist() == pytest.approx([0.002, 0.002])
    assert columns["name"].tolist() == [b"r1", b"r1"]
    assert origin.tolist() == [0, 0]
    assert pairs_of([decided({"m1": entry(0.25), "m2": entry(0.75)})])[0] == [("m1", "7", 0.25), ("m2", "7", 0.75)]


def test_a_list_of_records_names_them_by_themselves_or_by_their_numbers():
    models = [{"net": "a", "p": 0.1}, {"net": "b", "p": 0.2}]
    fields = {"request_id": "trace.id", "request_ts": "when_ms", "score": "each.value.p"}
    by_name = Mapping(each="decision.models", fields={**fields, "model": "each.value.net"})
    by_number = Mapping(each="decision.models", fields={**fields, "model": "each.key"})
    assert [model for model, _, _ in pairs_of([decided(models)], by_name)[0]] == ["a", "b"]
    assert [model for model, _, _ in pairs_of([decided(models)], by_number)[0]] == ["0", "1"]


def test_a_record_can_be_the_number_itself():
    fields = {"request_id": "trace.id", "request_ts": "when_ms", "model": "each.key", "score": "each.value"}
    rows, faults = pairs_of([decided({"m1": 0.25, "m2": None})], Mapping(each="decision.models", fields=fields))
    assert faults == []
    assert rows[0] == ("m1", "", 0.25)
    assert math.isnan(rows[1][2])


def test_one_bad_record_is_no_fault_of_the_others_and_can_go_back_alone():
    value = decided({"m1": entry(0.25), "m2": entry("much"), "m3": entry(0.75), "m4": entry("little")})
    rows, (fault,) = pairs_of([value])
    assert [model for model, _, _ in rows] == ["m1", "m3"]
    assert fault.kind == "unreadable"
    assert fault.reason.startswith("entry 'm2' is not a Score: Expected `float | null`, got `str`")
    assert "; entry 'm4' is not a Score" in fault.reason
    alone = json.loads(fault.message.value)
    assert alone == {**json.loads(value), "decision": {"models": {"m2": entry("much"), "m4": entry("little")}}}
    mended = fault.message.value.replace(b'"much"', b"0.5").replace(b'"little"', b"0.5")
    assert [model for model, _, _ in pairs_of([mended])[0]] == ["m2", "m4"]


def test_records_of_a_list_go_back_by_their_numbers():
    fields = {"request_id": "trace.id", "request_ts": "when_ms", "model": "each.key", "score": "each.value"}
    mapping = Mapping(each="decision.models", fields=fields)
    _, (fault,) = pairs_of([decided([0.1, "much", 0.3])], mapping)
    assert [model for model, _, _ in pairs_of([fault.message.value.replace(b'"much"', b"0.2")], mapping)[0]] == ["1"]


def test_times_of_single_records_are_out_of_range_by_themselves():
    fields = {**FLEET.fields, "request_ts": "each.value.at"}
    mapping = FLEET.model_copy(update={"fields": fields})
    value = decided({"m1": entry(at=NOW), "m2": entry(at=1.0), "m3": entry(at="soon")})
    rows, faults = pairs_of([value], mapping)
    assert [model for model, _, _ in rows] == ["m1"]
    assert {fault.kind: list(json.loads(fault.message.value)["decision"]["models"]) for fault in faults} == {
        "out of range": ["m2"],
        "unreadable": ["m3"],
    }
    assert any("each.value.at = 'soon' is no time" in fault.reason for fault in faults)


def test_thousands_of_bad_records_are_one_letter_no_larger_than_their_message():
    value = decided({f"m{n}": entry("much") for n in range(5000)})
    _, (fault,) = pairs_of([value])
    assert fault.reason.endswith("; and 4997 more")
    assert len(fault.message.value) <= len(value)


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (None, "each: decision.models is neither a list nor an object, but None"),
        ("all", "each: decision.models is neither a list nor an object, but 'all'"),
    ],
)
def test_a_message_without_records_where_they_should_be_is_a_fault(models, says):
    rows, (fault,) = pairs_of([decided(models)])
    assert rows == []
    assert says in fault.reason
    rows, (fault,) = pairs_of([b'{"trace": {"id": "r1"}}'])
    assert "each: decision.models is not there" in fault.reason


@pytest.mark.parametrize("models", [{}, []])
def test_a_message_of_no_records_is_no_fault(models):
    assert pairs_of([decided(models)]) == ([], [])


def test_many_records_in_each_row_of_an_arrow_payload():
    rows = [
        {
            "trace": {"id": f"r{n}"},
            "when_ms": NOW,
            "queue_ms": 2,
            "decision": {"models": {"m1": entry(), "m2": entry()}},
        }
        for n in range(3)
    ]
    rows[1]["decision"]["models"]["m2"]["release"] = None
    columns, _, (fault,) = decode([encode_table(pa.Table.from_pylist(rows))], mapping=FLEET)
    assert columns["name"].tolist() == [b"r0", b"r0", b"r1", b"r2", b"r2"]
    assert fault.reason.startswith("row 1, entry 'm2' is not a Score")
    assert json.loads(fault.message.value)["trace"]["id"] == "r1"


@pytest.mark.parametrize("p", ["inf", "-Infinity", "nan"])
def test_a_text_for_a_number_that_is_not_finite_is_a_fault(p):
    rows, (fault,) = pairs_of([decided({"m1": entry(p), "m2": entry("0.5")})])
    assert rows == [("m2", "7", 0.5)]
    assert "is not finite" in fault.reason


def test_a_unit_that_makes_a_number_infinite_is_a_fault():
    mapping = FLEET.model_copy(update={"units": {"elapsed_seconds": 1e300}})
    _, (fault,) = pairs_of([decided({"m1": entry(ms=1e300)})], mapping)
    assert "elapsed_seconds = inf is not finite" in fault.reason


def test_requests_can_come_many_in_a_message_with_their_features():
    settings = Settings(features={"amount": Feature()})
    fields = {"id": "each.value.id", "ts": "at", "features.amount": "each.value.cents"}
    mapping = Mapping(each="asked", fields=fields, units={"features.amount": 0.01})
    value = {"at": NOW, "asked": [{"id": "a", "cents": 250}, {"id": "b", "cents": 10**400}, {"id": "c"}]}
    columns, _, faults = decode([json.dumps(value).encode()], "requests", mapping, inputs=Inputs.of(settings))
    assert faults == []
    assert columns["number:amount"].tolist() == pytest.approx([2.5, math.nan, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"each": "models", "fields": {"score": "p"}}, "each: 'models' is not used"),
        ({"each": "models", "fields": {"score": "each.p"}}, r"score: 'each\.p' is nothing of a record"),
        ({"each": "models", "fields": {"score": "each"}}, "write each.key, each.value or each.value.PATH"),
        ({"each": "models", "fields": {"score": "each.key.p"}}, "is nothing of a record"),
        ({"fields": {"score": "each.value"}}, "say in `each` where they are"),
    ],
)
def test_a_mapping_of_many_records_that_cannot_work_is_refused(mapping, says):
    with pytest.raises(ValueError, match=says):
        Mapping(**mapping)


def test_a_mapping_of_many_records_still_has_to_say_all_that_is_needed():
    with pytest.raises(SettingsError, match="say where 'request_id' is to be found"):
        decoder(mapping=Mapping(each="models", fields={"score": "each.value"}))


# --- whatever comes --------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats()
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
GOOD = {
    "requests": a_request(ts=NOW, features={"amount": 1.5}),
    "scores": a_score(request_ts=NOW),
    "metrics": a_decision(request_ts=NOW, propensities={"m": 0.5}),
    "outcomes": an_outcome(ts=NOW),
}


@st.composite
def nearly(draw, good):
    """Give a record with some of its fields replaced by anything."""
    changed = draw(st.dictionaries(st.sampled_from(sorted(good)), JSON, max_size=3))
    return msgspec.json.encode({**good, **changed})


@st.composite
def damaged(draw, value):
    """Give a message with some bytes cut out or put in."""
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(value))] * 2)))
    return value[:begin] + draw(st.binary(max_size=4)) + value[end:]


FOREIGN = {
    "scores": FLEET.model_copy(update={"topic": None}),
    "requests": Mapping(fields={"id": "a.id", "ts": "a.ts", "features.amount": "a.v"}, units={"features.amount": 0.01}),
    "metrics": Mapping(
        fields={n: f"a.{n}" for n in ("request_id", "request_ts", "model", "latency_seconds", "tier", "within_sla")},
        units={"latency_seconds": 1e300},
    ),
    "outcomes": Mapping(fields={"request_id": "a.id", "ts": "a.ts", "label": "a.label"}, units={"label": -1e300}),
}
KNOWN = {
    "scores": json.loads(decided({"m1": entry(), "m2": entry()})),
    "requests": {"a": {"id": "r", "ts": "2023-11-14T22:00:00Z", "v": 3}},
    "metrics": {"a": {**json.loads(encode(GOOD["metrics"])), "tier": 0, "within_sla": True}},
    "outcomes": {"a": {"id": 12, "ts": NOW, "label": 1e-3}},
}


def accounted(values, stream, mapping=None):
    """Decode; give the messages' numbers of rows and of faults."""
    inputs = Inputs.of(Settings(features={"amount": Feature()})) if stream == "requests" else Inputs()
    columns, origin, faults = decode(values, stream, mapping, inputs=inputs)
    assert {column.shape[0] for column in columns.values()} == {origin.size}
    assert not any(np.isinf(columns[name]).any() for name in ("score", "label", "latency_seconds") if name in columns)
    assert all(NOW - 1e9 <= time <= NOW + 600 for time in columns["time"])
    return origin.tolist(), [fault.message.offset for fault in faults]


@pytest.mark.parametrize("stream", GOOD)
@given(data=st.data())
def test_whatever_bytes_come_each_message_is_a_row_or_a_fault(stream, data):
    good = encode(GOOD[stream])
    values = data.draw(
        st.lists(st.binary(max_size=40) | nearly(json.loads(good)) | damaged(good) | st.just(good), max_size=8)
    )
    rows, faults = accounted(values, stream)
    assert sorted(rows + faults) == list(range(len(values)))
    assert {at for at, value in enumerate(values) if value == good} <= set(rows)


@pytest.mark.parametrize("stream", GOOD)
@given(data=st.data())
def test_whatever_foreign_bytes_come_nothing_is_raised_and_good_ones_count(stream, data):
    good, mapping = KNOWN[stream], FOREIGN[stream]
    inner = data.draw(st.lists(nearly(good.get("a", good)) | damaged(msgspec.json.encode(good)), max_size=6))
    values = [b'{"a":%b}' % value if "a" in good else value for value in inner]
    values = [*values, msgspec.json.encode(good), *data.draw(st.lists(st.binary(max_size=40), max_size=3))]
    rows, faults = accounted(values, stream, mapping)
    assert set(rows) | set(faults) >= set(range(len(values))) - {at for at, v in enumerate(values) if b"models" in v}
    assert rows.count(len(inner)) == (2 if mapping.each else 1)


@given(value=damaged(encode_table(pa.Table.from_pylist([json.loads(scored(request_id=str(n))) for n in range(3)]))))
def test_a_damaged_table_is_a_fault_or_rows(value):
    rows, faults = accounted([value, scored()], "scores")
    assert rows[-1:] == [1]
    assert len(rows) + len(faults) >= 1


def test_a_name_of_a_megabyte_is_a_fault():
    _, _, (fault,) = decode([scored(request_id="x" * 1_000_000)])
    assert "length <= 256" in fault.reason


def test_a_table_of_more_rows_than_bytes_is_a_fault():
    """It would be unpacked into as many objects."""
    value = encode_table(pa.table({"request_id": pa.nulls(10**7)}))
    assert len(value) < 1000
    _, _, (fault,) = decode([value])
    assert "10,000,000 rows in" in fault.reason


def test_all_streams_are_tried():
    assert {*GOOD, "canary"} == set(COUNTED)
