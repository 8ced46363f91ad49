"""Each request is accounted for once, whatever became of it."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.content import content
from birdwatch.evaluate.audit import audit
from birdwatch.evaluate.reading import read_stream, read_streams

MAY = str(content("sample_streams") / "2013-05-14")


@pytest.fixture(scope="module")
def recorded():
    return read_stream(MAY, "requests"), read_streams(MAY, ["scores", "canary"])


def test_the_recorded_streams_hold_all_of_their_scores(recorded):
    table = audit(*recorded)
    assert set(table["model"]) == {"champion", "challenger", "fallback", "canary"}
    assert (table["requests"] == table["scored"]).all()
    assert table[["missing", "duplicates", "failed", "pending"]].to_numpy().sum() == 0
    assert table.groupby("model")["requests"].sum().eq(3883).all()


def test_what_is_taken_out_doubled_or_delayed_is_found_in_its_hour(recorded):
    requests, scores = recorded
    mine = scores[scores["model"] == "champion"]
    rng = np.random.default_rng(1)
    chosen = mine.sample(60, random_state=rng)
    lost, twice, slow = chosen[:20], chosen[20:40], chosen[40:]
    harmed = pd.concat([scores.drop(lost.index), twice.assign(ts=twice["ts"] + 0.01)])
    harmed.loc[slow.index, "ts"] += 2.0
    table = audit(requests, harmed.drop_duplicates(["request_id", "model", "ts"]))
    for column, rows in (("missing", lost), ("duplicates", twice), ("late", slow)):
        hours = pd.to_datetime(rows["request_ts"], unit="s", utc=True).dt.floor("h").value_counts()
        there = table[table[column] > 0]
        assert set(there["model"]) == {"champion"}
        assert there.set_index("time")[column].to_dict() == hours.to_dict()


def test_a_model_that_falls_silent_is_missed_until_it_is_retired(recorded):
    requests, scores = recorded
    half = requests["ts"].median()
    silent = scores[(scores["model"] != "canary") | (scores["request_ts"] < half)]
    left = int((requests["ts"] >= half).sum())
    assert audit(requests, silent, until=2e9)["missing"].sum() == left
    assert audit(requests, silent, serving={"canary": (0.0, half)})["missing"].sum() == 0


def control(*records):
    columns = ["ts", "action", "model", "version", "params"]
    return pd.DataFrame([(*record, {}) for record in records], columns=columns)


def test_a_retired_model_is_not_missed_until_it_is_registered_again(recorded):
    requests, scores = recorded
    third, two_thirds = requests["ts"].quantile([1 / 3, 2 / 3])
    silent = scores[(scores["model"] != "canary") | (scores["request_ts"] < third)]

    def missing(*records):
        return audit(requests, silent, until=2e9, control=control(*records))["missing"].sum()

    register, retire = (third - 9.0, "register", "canary", "2"), (third, "retire", "canary", "2")
    assert missing(register, retire) == 0
    assert missing((third, "retire", "canary", "")) == 0
    assert missing(register, (third, "retire", "canary", "1")) == int((requests["ts"] >= third).sum())
    assert missing((third, "retire", "champion", "")) == int((requests["ts"] >= third).sum())
    again = (two_thirds, "register", "canary", "3")
    assert missing(register, retire, again) == int((requests["ts"] >= two_thirds).sum())


def test_what_a_retired_model_said_all_the_same_is_counted(recorded):
    requests, scores = recorded
    table = audit(requests, scores, control=control((requests["ts"].median(), "retire", "canary", "")))
    assert table[table["model"] == "canary"]["scored"].sum() == 3883


def test_what_may_still_come_is_pending_and_strangers_are_counted():
    requests = pd.DataFrame({"id": ["a", "b"], "ts": [0.0, 10.0], "deadline_seconds": 1.0})
    scores = pd.DataFrame({"request_id": ["a", "x"], "ts": [0.1, 0.1], "model": "m", "score": [None, 0.1]})
    table = audit(requests, scores)
    assert table[["requests", "failed", "pending", "missing"]].to_numpy().tolist() == [[2, 1, 1, 0]]
    assert table.attrs["strangers"] == 1
    assert audit(requests, scores, until=11.0)["missing"].tolist() == [1]


def test_a_model_that_never_answered_misses_all():
    requests = pd.DataFrame({"id": ["a", "b"], "ts": [0.0, 1.0], "deadline_seconds": 1.0})
    scores = pd.DataFrame({"request_id": [], "ts": [], "model": [], "score": []})
    table = audit(requests, scores, models=["m"], until=9.0)
    assert table["missing"].tolist() == [2]
