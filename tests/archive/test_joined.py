"""Requests are joined with what was known of them at a moment, and with nothing that came later."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import birdwatch
from birdwatch.archive import joining
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.records import encode
from birdwatch.streams import Message
from birdwatch.testing import a_decision, a_request, a_score, an_outcome

NIGHT = 1_370_563_200.0 - 3600.0  # an hour before 7 June 2013, 00:00 UTC
MODELS = ("champion", "challenger", "canary")


def archive(folder, streams):
    for stream, records in streams.items():
        if records:
            rows = [
                Row(Message(stream, n % 2, n // 2, b"", encode(record)), None, record.ts)
                for n, record in enumerate(records)
            ]
            ArchiveWriter(folder, stream).write(rows)
    return birdwatch.open_archive(folder)


hours = st.integers(0, 40).map(lambda n: n * 900.0)


@st.composite
def histories(draw):
    """Requests, some of them asked twice, with what was said of them, some of that twice, late, in part, or of nobody."""
    asked = {n: NIGHT + draw(hours) for n in range(draw(st.integers(1, 6)))}
    again = draw(st.lists(st.sampled_from(sorted(asked)), max_size=2))
    requests = [
        a_request(id=f"r{n}", ts=asked[n], features={"n": n} if n % 3 else {"n": n, "late": True})
        for n in (*asked, *again)
    ]

    def about(make, most, **fields):
        n = draw(st.sampled_from([*asked, 99]))
        ts = asked.get(n, NIGHT)
        return make(
            request_id=f"r{n}",
            request_ts=ts,
            ts=ts + draw(hours),
            **{name: draw(each) for name, each in fields.items()},
        )

    score = st.one_of(st.none(), st.integers(0, 8).map(lambda k: k / 8))
    scores = [about(a_score, 6, model=st.sampled_from(MODELS), score=score) for _ in range(draw(st.integers(0, 12)))]
    metrics = [about(a_decision, 3, model=st.sampled_from(MODELS)) for _ in range(draw(st.integers(0, 6)))]
    outcomes = [about(an_outcome, 3, label=score, reward=score) for _ in range(draw(st.integers(0, 8)))]
    return {
        "requests": requests,
        "scores": [each for each in scores if each.model != "canary"],
        "canary": [each for each in scores if each.model == "canary"],
        "metrics": metrics,
        "outcomes": outcomes,
    }


def known(streams, as_of):
    """Say by request id what was known, going through all records one by one."""
    place = {id(r): (n % 2, n // 2) for records in streams.values() for n, r in enumerate(records)}

    def until(stream):
        return sorted((r for r in streams[stream] if r.ts <= as_of), key=lambda r: (r.ts, place[id(r)]))

    found = {}
    for request in until("requests"):
        found.setdefault(request.id, {"request_ts": request.ts, "late": request.features.get("late")})
    for score in [*until("scores"), *until("canary")]:
        if score.request_id in found:
            found[score.request_id].setdefault(("score", score.model), (score.score, score.ts))
    for decision in until("metrics"):
        if decision.request_id in found:
            found[decision.request_id].setdefault("decided", (decision.model, decision.ts))
    for outcome in until("outcomes"):
        told = {"outcome_ts": outcome.ts, "label": outcome.label, "reward": outcome.reward}
        if outcome.request_id in found:
            found[outcome.request_id].update({name: value for name, value in told.items() if value is not None})
    return found


def number(value):
    return None if value is None or pd.isna(value) else float(value)


def seconds(value):
    return None if value is None or pd.isna(value) else value.timestamp()


@settings(max_examples=10, deadline=None)
@given(histories(), hours, st.booleans())
def test_nothing_from_the_future_leaks_in(tmp_path_factory, streams, hour, ever):
    as_of = math.inf if ever else NIGHT + hour
    there = archive(tmp_path_factory.mktemp("archive"), streams)
    wanted = known(streams, as_of)
    frame = there.joined(as_of=None if ever else as_of)
    assert sorted(frame["request_id"]) == sorted(wanted)
    for row in frame.to_dict("records"):
        expected = wanted[row["request_id"]]
        assert seconds(row["request_ts"]) == expected["request_ts"]
        assert (row.get("features.late") is True) == (expected["late"] is True)
        assert (number(row["label"]), number(row["reward"])) == (expected.get("label"), expected.get("reward"))
        assert seconds(row["outcome_ts"]) == expected.get("outcome_ts")
        model, ts = expected.get("decided", (None, None))
        assert (row["model"] if model else None, seconds(row["ts"])) == (model, ts)
        assert (pd.isna(row["model"])) == (model is None)
        for each in MODELS:
            score, ts = expected.get(("score", each), (None, None))
            assert (number(row.get(f"score.{each}")), seconds(row.get(f"score_ts.{each}"))) == (score, ts)


@pytest.fixture
def two_days(tmp_path):
    hour = [NIGHT + 1800.0 * n for n in range(8)]
    return archive(
        tmp_path,
        {
            "requests": [a_request(id=f"r{n}", ts=ts, features={"origin": "JE"[n % 2]}) for n, ts in enumerate(hour)],
            "scores": [
                a_score(request_id=f"r{n}", request_ts=ts, ts=ts + 1, model=m, score=n / 8)
                for n, ts in enumerate(hour)
                for m in MODELS
            ],
            "metrics": [a_decision(request_id=f"r{n}", request_ts=ts, ts=ts + 2) for n, ts in enumerate(hour)],
            "outcomes": [an_outcome(request_id=f"r{n}", request_ts=ts, ts=ts + 86_400) for n, ts in enumerate(hour)],
        },
    )


def test_a_day_of_requests_is_in_memory_at_a_time(two_days, monkeypatch):
    monkeypatch.setattr(joining, "_ROWS_IN_MEMORY", 5)
    days = list(two_days.joined_by_day())
    assert [len(day) for day in days] == [2, 6]
    assert days[0]["label"].tolist() == [1.0, 1.0]
    whole = two_days.joined()
    assert whole["request_id"].tolist() == [f"r{n}" for n in range(8)]
    assert whole["score.challenger"].tolist() == [n / 8 for n in range(8)]


def test_of_some_time_requests_keep_what_came_after_it(two_days):
    frame = two_days.joined(since=NIGHT + 3600, until=NIGHT + 7200)
    assert frame["request_id"].tolist() == ["r2", "r3"]
    assert frame["label"].tolist() == [1.0, 1.0]
    assert frame.attrs["unmatched"] == {"scores": 0, "canary": 0, "metrics": 0, "outcomes": 0}
    narrowed = two_days.where(since=NIGHT + 3600, until=NIGHT + 7200).joined()
    pd.testing.assert_frame_equal(narrowed, frame)


def test_requests_are_chosen_by_their_features_and_models_by_name(two_days):
    frame = two_days.where(features={"origin": "J"}, model="canary").joined()
    assert frame["request_id"].tolist() == ["r0", "r2", "r4", "r6"]
    assert [name for name in frame.columns if name.startswith("score.")] == ["score.canary"]
    assert frame["model"].tolist() == ["champion"] * 4
    assert frame["label"].notna().all()


def test_what_belongs_to_no_request_is_counted(tmp_path):
    there = archive(tmp_path, {"requests": [a_request()], "outcomes": [an_outcome(), an_outcome(request_id="gone")]})
    frame = there.joined()
    assert frame.attrs["unmatched"] == {"scores": 0, "canary": 0, "metrics": 0, "outcomes": 1}
    assert frame["label"].tolist() == [1.0]
    assert frame["score"].isna().all()


def test_the_score_is_that_of_the_model_that_answered(tmp_path):
    decision = a_decision(model="challenger", scores={"champion": 0.25, "challenger": 0.75})
    there = archive(tmp_path, {"requests": [a_request()], "metrics": [decision, a_decision(model="champion", ts=2e9)]})
    assert there.joined()[["model", "score"]].to_dict("records") == [{"model": "challenger", "score": 0.75}]


def test_without_any_request_nothing_is_joined(tmp_path):
    there = archive(tmp_path, {"outcomes": [an_outcome()]})
    assert len(there.joined()) == 0
