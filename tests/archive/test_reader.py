"""An archive is read as tables: typed, narrowed, without duplicates, and what cannot be read is said."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import birdwatch
from birdwatch.archive.archiver import Archiver
from birdwatch.archive.reader import UnreadableWarning
from birdwatch.archive.verify import put_aside
from birdwatch.errors import StreamError
from birdwatch.records import Token, encode
from birdwatch.streams.arrow import encode_table
from birdwatch.testing import FakeClock, MemoryStreams, a_decision, a_request, a_score

HOUR = 3600.0
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


def utc(seconds):
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def archive(folder, together=15, **streams):
    """Archive records by stream, so many in a file; bytes go as they are."""
    clock = FakeClock()
    place = MemoryStreams(clock=clock, sleep=clock.sleep)
    archiver = Archiver(place, list(streams), folder, flush_count=1)
    for stream, records in streams.items():
        values = [record if isinstance(record, bytes) else encode(record) for record in records]
        for begin in range(0, len(values), together):
            place.append(stream, [(b"", value) for value in values[begin : begin + together]])
            archiver.step(0.0)
    archiver.close()
    return birdwatch.open_archive(folder)


def asked(n, **features):
    return a_request(id=f"r{n}", ts=JUNE + n * HOUR, features={"origin": "JFK" if n % 2 else "EWR", "n": n, **features})


def said(n, model="champion"):
    return a_score(request_id=f"r{n}", request_ts=JUNE + n * HOUR, ts=JUNE + n * HOUR + 0.25, model=model, score=n / 64)


@pytest.fixture
def two_days(tmp_path):
    return archive(
        tmp_path,
        requests=[asked(n) for n in range(48)],
        scores=[said(n, model) for n in range(48) for model in ("champion", "challenger")],
    )


def test_it_says_what_there_is(two_days):
    assert two_days.streams() == ["requests", "scores"]
    assert two_days.days("scores") == ["2013-06-07", "2013-06-08"]
    there = two_days.summary().set_index(["stream", "day"])
    assert there["rows"].to_dict() == {
        ("requests", "2013-06-07"): 24,
        ("requests", "2013-06-08"): 24,
        ("scores", "2013-06-07"): 48,
        ("scores", "2013-06-08"): 48,
    }
    assert there.loc[("requests", "2013-06-08"), ["first", "last", "damaged"]].tolist() == [24, 47, 0]
    assert there["files"].min() > 1


def test_there_is_a_column_for_each_field_with_its_type(two_days):
    frame = two_days.read("scores")
    assert list(frame.columns) == [
        *("request_id", "request_ts", "ts", "model", "version", "score", "error", "output", "queue_seconds"),
        *("elapsed_seconds", "provenance", "partition", "offset"),
    ]
    assert frame["ts"].dtype == "datetime64[us, UTC]"
    assert frame["score"].dtype == np.float64
    assert frame.loc[3, ["request_id", "model", "score", "offset"]].tolist() == ["r1", "challenger", 1 / 64, 3]
    assert frame.loc[3, "ts"] == utc(JUNE + HOUR + 0.25)
    assert frame["error"].isna().all()


def test_what_a_field_holds_comes_back_as_it_was(tmp_path):
    decision = a_decision(
        propensities={"champion": 0.75, "challenger": 0.25},
        missing=["canary"],
        accepted=True,
        elapsed_seconds={"x": None},
    )
    frame = archive(tmp_path, metrics=[decision, a_decision(request_id="r2")]).read("metrics")
    assert frame.loc[0, "propensities"] == {"champion": 0.75, "challenger": 0.25}
    assert list(frame.loc[0, "missing"]) == ["canary"]
    assert frame.loc[0, "elapsed_seconds"] == {"x": None}
    assert frame["accepted"].tolist() == [True, pd.NA]


def test_features_are_columns_and_what_is_nested_is_named_by_its_path(tmp_path):
    there = archive(
        tmp_path,
        requests=[
            asked(0, weather={"wind": 3.5}),
            asked(1, tags=["a"]),
            a_request(features={"origin": "EWR", "n": "many"}),
        ],
    )
    frame = there.read("requests")
    assert frame["features.origin"].tolist() == ["EWR", "JFK", "EWR"]
    assert frame["features.n"].tolist() == [0, 1, "many"]
    assert frame["features.weather.wind"].tolist()[:1] == [3.5]
    assert list(frame["features.tags"][1]) == ["a"]
    chosen = there.read("requests", columns=["features.weather.wind", "id", "features.none"])
    assert list(chosen.columns) == ["features.weather.wind", "id", "features.none"]
    assert chosen["features.none"].isna().all()


def test_a_feature_that_is_words_in_one_file_and_a_number_in_another_keeps_both(tmp_path):
    requests = [asked(n, mixed="many" if n > 20 else n) for n in range(48)]
    assert archive(tmp_path, requests=requests).read("requests")["features.mixed"].tolist() == [
        request.features["mixed"] for request in requests
    ]


@pytest.mark.parametrize("cut", [(None, 5.0), (5.0, None), (23.0, 25.5), (24.0, 24.0), (0.25 / 3600, 30.0)])
def test_it_is_narrowed_by_event_time(two_days, cut):
    since, until = (None if hours is None else JUNE + hours * HOUR for hours in cut)
    everything = two_days.read("scores")
    low, high = utc(since or 0), utc(until or 2e9)
    wanted = everything[(everything["ts"] >= low) & (everything["ts"] < high)]
    found = two_days.read("scores", since=since, until=until)
    assert found["offset"].tolist() == wanted["offset"].tolist()


def test_only_the_days_that_are_asked_for_are_opened(two_days, monkeypatch):
    last = min((two_days.directory / "requests" / "dt=2013-06-08").glob("*.parquet"))
    last.write_bytes(b"not even Parquet")
    assert len(two_days.read("requests", until="2013-06-07T12:00")) == 12
    with pytest.raises(StreamError, match=r"cannot be read.*verify --put-aside"):
        two_days.read("requests")


def test_it_is_narrowed_by_model_and_by_features(two_days):
    assert set(two_days.where(model="challenger").read("scores")["model"]) == {"challenger"}
    of_jfk = two_days.where(features={"origin": "JFK"})
    assert set(of_jfk.read("requests")["features.origin"]) == {"JFK"}
    assert of_jfk.read("scores")["request_id"].tolist() == [f"r{n}" for n in range(1, 48, 2) for _ in range(2)]
    assert len(of_jfk.where(features={"n": [1, 2, 3]}, model="champion").read("scores")) == 2


def test_what_was_written_twice_is_read_once(two_days):
    before = two_days.read("scores")
    again = archive(two_days.directory / "again", scores=[said(n) for n in range(20)])
    for path in (again.directory / "scores").rglob("*.parquet"):
        path.rename(two_days.directory / "scores" / path.parent.name / path.name)
    assert two_days.read("scores")["offset"].tolist() == before["offset"].tolist()
    assert two_days.summary()["rows"].sum() == 48 + 96


def test_what_cannot_be_read_is_counted_warned_of_and_reachable(tmp_path):
    token = Token(token="t", component="features", to="", by="gateway")
    endless = b'{"id":"x","ts":1e300,"received_ts":1,"deadline_seconds":1,"features":{}}'
    there = archive(tmp_path, requests=[asked(0), b'{"id": "r1"}', token, asked(2), endless])
    with pytest.warns(UnreadableWarning, match=r"2 messages of requests cannot be read.*unreadable\('requests'\)"):
        frame = there.read("requests")
    assert frame["id"].tolist() == ["r0", "r2"]
    assert frame.attrs["unreadable"] == 2
    lost = there.unreadable("requests")
    assert lost["offset"].tolist() == [1, 4]
    assert "missing required field `ts`" in lost["reason"][0]
    assert "its ts is no time" in lost["reason"][1]
    assert lost["value"][0] == b'{"id": "r1"}'


def test_batches_are_arrow_tables_for_what_is_larger_than_memory(two_days):
    tables = list(two_days.batches("scores", columns=["model", "score"], since="2013-06-08"))
    assert len(tables) > 1
    assert sum(table.num_rows for table in tables) == 48
    assert {tuple(table.schema.types) for table in tables} == {(pa.string(), pa.float64())}


def test_messages_of_many_rows_are_read_row_by_row(tmp_path):
    rows = [
        {
            "request_id": f"r{n}",
            "request_ts": JUNE,
            "ts": JUNE + n,
            "model": "m",
            "version": "1",
            "score": n / 8 or None,
        }
        for n in range(5)
    ]
    there = archive(tmp_path, scores=[encode_table(pa.Table.from_pylist(rows)), said(0)])
    assert there.read("scores")["request_id"].tolist() == ["r0", "r1", "r2", "r3", "r4", "r0"]
    assert there.read("scores", since=JUNE + 2, until=JUNE + 4)["request_id"].tolist() == ["r2", "r3"]


def test_a_stream_of_somebody_else_is_read_too(tmp_path):
    there = archive(tmp_path, clicks=[b'{"ts": 1370563200.5, "page": {"name": "home"}, "n": 1}', b'{"n": 2}'])
    frame = there.read("clicks")
    assert frame["page.name"].tolist()[0] == "home"
    assert frame["ts"][0] == utc(JUNE + 0.5)
    assert frame["n"].tolist() == [1, 2]


def test_nothing_of_an_empty_stretch_has_its_columns_all_the_same(two_days):
    frame = two_days.read("scores", since="2020-01-01")
    assert (len(frame), frame["score"].dtype, frame.attrs) == (0, np.float64, {"unreadable": 0})


def test_a_stream_or_a_folder_that_is_not_there_is_named(two_days, tmp_path):
    with pytest.raises(StreamError, match=r"no stream 'score' in .*: there are requests, scores"):
        two_days.read("score")
    with pytest.raises(StreamError, match="there is no archive at"):
        birdwatch.open_archive(tmp_path / "none")


def test_damaged_files_are_in_the_summary(two_days):
    put_aside(min((two_days.directory / "scores").rglob("*.parquet")))
    assert two_days.summary()["damaged"].sum() == 1


def test_importing_birdwatch_loads_neither_pandas_nor_arrow():
    code = "import sys, birdwatch; print({'pandas', 'pyarrow', 'numpy', 'msgspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
