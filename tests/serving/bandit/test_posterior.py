import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.serving.bandit.posterior import Posterior
from birdwatch.serving.control.policy import unit
from birdwatch.stats.posterior import best_probabilities, draw

YEAR = 365.25 * 86400
NOON = 1_368_532_800.0

rewards = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.floats(NOON, NOON + 3 * 86400)), max_size=30)
half_lives = st.sampled_from([None, 30.0, 3600.0, 86400.0])


def backward(given_rewards, half_life, now, prior=(1.0, 1.0)):
    """Weigh each reward by its age, as decay is usually defined."""
    found = {}
    for arm, reward, ts in given_rewards:
        weight = 1.0 if half_life is None else math.exp(-math.log(2) * (now - ts) / half_life)
        alpha, beta = found.get(arm, prior)
        found[arm] = (alpha + weight * reward, beta + weight * (1 - reward))
    return found


def filled(given_rewards, half_life, **options):
    posterior = Posterior(half_life, **options)
    for arm, reward, ts in given_rewards:
        posterior.add(arm, reward, ts)
    return posterior


def near(expected):
    return {arm: pytest.approx(parameters) for arm, parameters in expected.items()}


@settings(deadline=None)
@given(rewards, half_lives, st.floats(0, 86400))
def test_whatever_the_order_each_reward_counts_by_its_age(given_rewards, half_life, later):
    now = max((ts for _, _, ts in given_rewards), default=NOON) + later
    assert filled(given_rewards, half_life).at(now) == near(backward(given_rewards, half_life, now))


@settings(deadline=None)
@given(rewards, rewards, half_lives)
def test_it_goes_on_from_its_state_as_if_nothing_had_been(before, after, half_life):
    whole = filled(before + after, half_life)
    parted = Posterior.from_state(json.loads(json.dumps(filled(before, half_life).state())), half_life)
    for each in after:
        parted.add(*each)
    assert parted.state() == whole.state()


def test_evidence_of_years_by_the_second_neither_overflows_nor_stays():
    posterior = Posterior(half_life_seconds=1.0)
    for year in range(30):
        posterior.add("a", 1.0, NOON + year * YEAR)
    posterior.add("a", 1.0, NOON)  # thirty years late
    assert posterior.at(posterior.latest) == {"a": (2.0, 1.0)}
    assert posterior.at(posterior.latest + YEAR) == {"a": (1.0, 1.0)}
    assert all(math.isfinite(each) for each in posterior.state()["sums"]["a"])


def test_a_constant_stream_weighs_as_much_as_the_geometric_series_says():
    posterior = Posterior(half_life_seconds=100.0)
    for second in range(20_000):
        posterior.add("a", 0.25, NOON + second)
    total = 1 / (1 - 2 ** (-1 / 100))
    assert posterior.at(NOON + 19_999)["a"] == pytest.approx((1 + total / 4, 1 + total * 3 / 4))


def test_evidence_is_never_worth_more_than_when_it_was_new():
    posterior = filled([("a", 1.0, NOON)], 60.0)
    assert posterior.at(NOON - 3600) == posterior.at(NOON) == {"a": (2.0, 1.0)}


def test_what_is_known_counts_on_under_another_half_life():
    state = filled([("a", 1.0, NOON), ("a", 0.0, NOON + 60)], 60.0).state()
    posterior = Posterior.from_state(state, half_life_seconds=600.0, prior=(2.0, 3.0))
    assert posterior.at(NOON + 60) == {"a": (2.5, 4.0)}
    assert posterior.at(NOON + 660) == {"a": (2.25, 3.5)}


def test_without_evidence_its_state_is_empty_and_no_arm_is_known():
    posterior = Posterior.from_state(json.loads(json.dumps(Posterior(60.0).state())), 60.0)
    assert posterior.at(NOON) == {}
    posterior.add("a", 1.0, NOON)
    assert posterior.at(NOON) == {"a": (2.0, 1.0)}


@pytest.mark.parametrize("reward", [-0.01, 1.01, math.nan, math.inf])
def test_a_reward_outside_0_to_1_is_refused(reward):
    posterior = Posterior()
    with pytest.raises(ValueError, match=f"not at {reward}"):
        posterior.add("a", reward, NOON)
    assert posterior.at(NOON) == {}


@pytest.mark.parametrize("ts", [math.nan, math.inf])
def test_a_time_that_is_none_is_refused(ts):
    with pytest.raises(ValueError, match="time of a reward"):
        Posterior().add("a", 1.0, ts)


@pytest.mark.parametrize(
    "options", [{"half_life_seconds": 0.0}, {"half_life_seconds": math.inf}, {"prior": (0.0, 1.0)}]
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="positive"):
        Posterior(**options)


def play(rates, rounds, half_life, *, seed, delay=50):
    """Let Thompson sampling choose among arms of known rates; give its choices, and what it knew at each."""
    rng = np.random.default_rng(seed)
    arms = list(rates(0))
    posterior, waiting = Posterior(half_life), []
    chosen, known_then = [], []
    for n in range(rounds):
        known = posterior.at(NOON + n)
        alpha, beta = np.array([known.get(arm, (1.0, 1.0)) for arm in arms]).T
        u = [unit(str(seed), str(n), arm) for arm in arms]
        pick = int(draw(alpha, beta, u).argmax())
        chosen.append(pick)
        known_then.append((alpha, beta))
        waiting.append((arms[pick], float(rng.random() < rates(n)[arms[pick]]), NOON + n))
        if len(waiting) > delay:  # the truth is known only so many requests later, and not in their order
            posterior.add(*waiting.pop(int(rng.integers(len(waiting)))))
    return np.array(chosen), known_then


def test_traffic_moves_to_the_better_arm():
    chosen, _ = play(lambda n: {"worse": 0.3, "better": 0.5}, 3000, None, seed=13)
    assert chosen[:300].mean() < chosen[-1000:].mean()
    assert chosen[-1000:].mean() > 0.95


def test_with_a_half_life_traffic_follows_when_the_better_arm_becomes_the_worse():
    def rates(n):
        return {"a": 0.5, "b": 0.3} if n < 2500 else {"a": 0.3, "b": 0.5}

    following, _ = play(rates, 5000, 300.0, seed=13)
    assert following[1500:2500].mean() < 0.2
    assert following[4000:].mean() > 0.8
    remembering, _ = play(rates, 5000, None, seed=13)
    assert remembering[2500:].mean() < following[2500:].mean()


@pytest.mark.parametrize("half_life", [None, 300.0])
def test_the_odds_at_each_choice_match_how_often_it_was_made(half_life):
    chosen, known = play(lambda n: {"a": 0.3, "b": 0.34, "c": 0.4}, 2000, half_life, seed=31)
    odds = np.array([best_probabilities(alpha, beta) for alpha, beta in known])
    for arm in range(3):
        # A sum of independent choices, each with the odds of its own moment.
        expected, spread = odds[:, arm].sum(), np.sqrt((odds[:, arm] * (1 - odds[:, arm])).sum())
        assert abs((chosen == arm).sum() - expected) < 4 * spread
        likely = odds[:, arm] > np.median(odds[:, arm])
        expected, spread = odds[likely, arm].sum(), np.sqrt((odds[likely, arm] * (1 - odds[likely, arm])).sum())
        assert abs((chosen[likely] == arm).sum() - expected) < 4 * spread
