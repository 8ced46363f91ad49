"""The bandit's week is what its guide says: drawn with the propensities that are logged, and rewarded by what the flights did."""

import math

import pytest

from birdwatch.content import content
from birdwatch.demo.booking import TRAIN
from birdwatch.demo.flights import load_year, questions, start_of
from birdwatch.evaluate.off_policy import DRAWN
from birdwatch.evaluate.reading import read_stream
from birdwatch.serving.control.policy import unit

WEEK = str(content("sample_streams") / "2013-05-20")


@pytest.fixture(scope="module")
def decisions():
    # The rewards of the last day may come after the end.
    found = read_stream(WEEK, "metrics")
    return found[found["request_ts"] < start_of("2013-05-26")]


def test_it_says_by_which_schedule_it_was_served(decisions):
    plan = read_stream(WEEK, "control")["params"][0]
    assert plan["acceptance"] == {"threshold": 0.3, "accepts": "below", "rate": 0.2}
    assert plan["tiers"][0]["policy"]["kind"] == "thompson"
    assert plan["tiers"][0]["models"] == ["champion", "challenger", "fallback"]
    assert len(decisions) == decisions["request_id"].nunique() == 5611


def test_who_was_drawn_had_the_propensity_that_is_logged(decisions):
    drawn = decisions[decisions["reason"].isin(DRAWN)]
    assert {"challenger", "champion", "fallback"} == set(drawn["model"])
    for odds, model, chosen in zip(drawn["propensities"], drawn["model"], drawn["propensity"], strict=True):
        assert math.isclose(sum(odds.values()), 1.0, abs_tol=1e-9)
        assert odds[model] == chosen > 0
    # If they are what they say, 1/propensity adds up to the number of draws, for each model (within four standard errors).
    for model in ("champion", "fallback"):
        weights = (drawn["model"] == model) / drawn["propensity"]
        assert abs(weights.mean() - 1) < 4 * weights.std() / math.sqrt(len(drawn))


def test_what_the_model_rejects_is_accepted_by_lot(decisions):
    lot = decisions["request_id"].map(lambda request_id: unit("", "accept", request_id) < 0.2)
    assert decisions["accepted"].tolist() == (decisions["model_accepts"] | lot).tolist()
    assert 0.18 < lot[decisions["model_accepts"] == 0].mean() < 0.22


def test_rewards_are_what_the_flights_did_and_labels_come_of_those_on_board(decisions):
    year = load_year()
    late = year.truth["late"].to_dict()
    row = {question.id: question.row for question in questions(year, start_of("2013-05-20"), start_of("2013-05-26"))}
    outcomes = read_stream(WEEK, "outcomes").set_index("request_id")
    for request_id, accepted in zip(decisions["request_id"], decisions["accepted"], strict=True):
        was_late, outcome = late[row[request_id]], outcomes.loc[request_id]
        if not accepted:
            assert (outcome["reward"], math.isnan(outcome["label"])) == (TRAIN, True)
        elif math.isnan(was_late):
            assert (outcome["reward"], math.isnan(outcome["label"])) == (0.0, True)
        else:
            assert (outcome["reward"], outcome["label"]) == (1 - was_late, was_late)
