from collections import Counter

import pytest
from scipy import stats

from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.rendezvous.answer import make_result
from birdwatch.serving.rendezvous.decision import Choice
from birdwatch.testing import a_request


def schedule(**changes):
    return parse_schedule({"default": 0, "tiers": [{"models": ["m"]}]} | changes, place="test")


def result(plan, *, score=0.5, output=None, request_id="r", now=10.0):
    asked = a_request(id=request_id, ts=1000.0, received_ts=8.0, reply_to="g", override_by="rule")
    return make_result(asked, Choice("m", "3", score, output, 1, "timed out", {"m": 0.25, "n": 0.75}, "n"), plan, now)


def test_an_answer_repeats_its_request_and_tells_how_likely_it_was():
    answer = result(schedule())
    assert (answer.request_id, answer.request_ts, answer.ts, answer.latency_seconds) == ("r", 1000.0, 1002.0, 2.0)
    assert (answer.model, answer.version, answer.tier, answer.reason) == ("m", "3", 1, "timed out")
    assert (answer.propensity, answer.propensities, answer.drawn) == (0.25, {"m": 0.25, "n": 0.75}, "n")
    assert (answer.reply_to, answer.override_by) == ("g", "rule")
    assert answer.accepted is None


@pytest.mark.parametrize(
    ("accepts", "score", "own"),
    [("below", 0.49, True), ("below", 0.5, False), ("at_least", 0.5, True), ("at_least", 0.4, False)],
)
def test_the_schedule_says_what_the_model_accepts(accepts, score, own):
    answer = result(schedule(acceptance={"threshold": 0.5, "accepts": accepts}), score=score)
    assert (answer.model_accepts, answer.accepted, answer.acceptance_propensity) == (own, own, float(own))


def test_a_share_of_what_the_model_rejects_is_let_through_with_its_propensity_on_record():
    plan = schedule(acceptance={"threshold": 0.5, "accepts": "below", "rate": 0.05})
    answers = [result(plan, score=0.9, request_id=f"r{n}") for n in range(4000)]
    assert {(a.model_accepts, a.acceptance_propensity, a.score) for a in answers} == {(False, 0.05, 0.9)}
    assert stats.binomtest(sum(a.accepted for a in answers), len(answers), 0.05).pvalue > 1e-3
    assert all(result(plan, score=0.1, request_id=f"r{n}").accepted for n in range(100))


@pytest.mark.parametrize("field", [None, "items"])
def test_a_ranking_is_dithered_and_keeps_its_items(field):
    ranking = list(range(50))
    output = ranking if field is None else {"items": ranking, "total": 50}
    plan = schedule(dithering={"epsilon": 2, "field": field})
    orders = Counter()
    for number in range(20):
        found = result(plan, output=output, request_id=f"r{number}").output
        shown = found if field is None else found["items"]
        assert sorted(shown) == ranking
        orders[tuple(shown)] += 1
    assert len(orders) == 20
    assert result(plan, output=output).output == result(plan, output=output).output  # repeatable from its record
    assert output == (ranking if field is None else {"items": ranking, "total": 50})


@pytest.mark.parametrize("output", [None, 3, {"class": 1}, {"items": 5}])
def test_an_output_without_a_ranking_stays_as_it_is(output):
    assert result(schedule(dithering={"epsilon": 2, "field": "items"}), output=output).output == output
    assert result(schedule(dithering={"epsilon": 2}), output=output).output == output
