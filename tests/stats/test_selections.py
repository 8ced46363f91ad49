import numpy as np
import pytest
from scipy import special

from birdwatch.stats.selections import ODDS, STEPS, selection_odds

from .simulation import A, alarms_by_stream, keeps_budget


def thompson(rng, streams, *, state, decisions=50, biased=1.0):
    """Let Bernoulli bandits with two arms decide, learn, and log their propensities; give the counts of one arm.

    ``biased`` multiplies the odds with which the arm is really selected, without saying so.
    """
    wins, losses = state.setdefault("wins", np.ones((streams, 2))), state.setdefault("losses", np.ones((streams, 2)))
    steps = np.zeros((streams, decisions), dtype=np.int64)
    selected = np.zeros((streams, decisions), dtype=np.bool_)
    thetas = np.zeros((streams, decisions))
    for i in range(decisions):
        # The probability that a draw from one posterior exceeds one from the other, taken as normal; kept off 0 and 1.
        n = wins + losses
        mean, variance = wins / n, wins * losses / (n**2 * (n + 1))
        theta = np.clip(special.ndtr((mean[:, 0] - mean[:, 1]) / np.sqrt(variance.sum(axis=1))), 0.02, 0.98)
        thetas[:, i], steps[:, i] = theta, np.rint(theta * STEPS)
        really = theta * biased / (theta * biased + 1 - theta)
        selected[:, i] = rng.random(streams) < really
        arm = np.where(selected[:, i], 0, 1)
        won = rng.random(streams) < np.array([0.12, 0.10])[arm]
        np.add.at(wins, (np.arange(streams), arm), won)
        np.add.at(losses, (np.arange(streams), arm), ~won)
    return steps, selected, thetas


def by_step(steps, selected):
    """Count decisions by step, as a pane does."""
    rows = np.arange(len(steps))[:, None]
    counts = np.zeros((2, len(steps), STEPS + 1), dtype=np.int64)
    np.add.at(counts[0], (rows, steps), 1)
    np.add.at(counts[1], (rows, steps), selected)
    used = counts[0].any(axis=0)
    return np.flatnonzero(used), counts[0][:, used], counts[1][:, used]


def of_bandit(**how):
    state = {}

    def draw(rng, streams):
        steps, selected, _ = thompson(rng, streams, state=state, **how)
        return selection_odds(*by_step(steps, selected))

    return draw


def test_a_bandit_that_learns_never_alarms_beyond_the_budget():
    assert keeps_budget(of_bandit(), streams=500, windows=40)


def test_a_test_of_fixed_shares_alarms_on_the_same_bandits():
    """The Dirichlet-multinomial against the arm's mean propensity in its first window: nearly all alarm, all healthy."""
    rng, state = np.random.default_rng(1), {}
    first, c, n = None, np.zeros(200), 0
    for _ in range(60):
        _, selected, thetas = thompson(rng, 200, state=state)
        first = thetas.mean(axis=1) if first is None else first
        c, n = c + selected.sum(axis=1), n + selected.shape[1]
    against = c * np.log(first) + (n - c) * np.log1p(-first)
    mixture = special.betaln(1 + c, 1 + n - c) - against
    assert np.mean(mixture >= np.log(20)) > 0.9


def test_an_arm_that_is_selected_more_often_than_is_said_is_found_and_on_which_side():
    rng, state = np.random.default_rng(2), {}
    ratios = 0.0
    for _ in range(20):
        steps, selected, _ = thompson(rng, 40, state=state, biased=2.5)
        ratios = ratios + selection_odds(*by_step(steps, selected))
    often, rarely = np.split(ratios, 2, axis=-1)
    assert np.mean(often.max(axis=-1) > np.log(A * 2 * len(ODDS))) > 0.9
    assert (rarely.max(axis=-1) < np.log(A)).all()


@pytest.mark.parametrize("theta", [0.0, 0.0001, 0.3 / STEPS, 0.5, 0.49951, 0.9997, 1.0])
def test_rounding_a_propensity_costs_evidence_and_never_makes_any(theta):
    """One decision is expected to weigh at most 1 at the true propensity, wherever it lies within its step."""
    step = round(theta * STEPS)
    hit, miss = (np.exp(selection_odds([step], [1], [x])) for x in (1, 0))
    for true in (max(0.0, (step - 0.5) / STEPS), theta, min(1.0, (step + 0.5) / STEPS)):
        assert (true * hit + (1 - true) * miss <= 1 + 1e-12).all()
    assert np.isfinite(hit).all()
    assert np.isfinite(miss).all()


def test_many_rounded_propensities_keep_the_budget():
    """A propensity that always rounds down, by nearly half a step, in many decisions."""
    theta = 3.499 / STEPS

    def draw(rng, streams):
        c = rng.binomial(5_000, theta, (streams, 1))
        return selection_odds([3], np.full((streams, 1), 5_000), c)

    assert keeps_budget(draw, windows=20)


def test_the_simulation_notices_rounding_that_is_not_paid_for():
    """The same without half a step: the exact formula on the rounded propensity."""
    theta = 3.499 / STEPS
    eta = np.log(np.array([1.1, 1.25]))

    def draw(rng, streams):
        c = rng.binomial(5_000, theta, (streams, 1))
        return c * eta - 5_000 * np.log1p(3 / STEPS * np.expm1(eta))

    alarms, budget = alarms_by_stream(draw, streams=500, windows=20)
    assert alarms > 2 * budget


def test_a_decision_weighs_what_the_formula_says_with_its_propensity_half_a_step_off():
    thetas, selected = np.array([0.25, 0.25, 0.5]), np.array([1, 0, 1])
    eta = np.log(np.asarray(ODDS))
    often = selected.sum() * eta - sum(np.log1p((t + 0.5 / STEPS) * np.expm1(eta)) for t in thetas)
    rarely = -selected.sum() * eta - sum(np.log1p((t - 0.5 / STEPS) * np.expm1(-eta)) for t in thetas)
    found = selection_odds([256, 512], [2, 1], [1, 1])
    assert found == pytest.approx(np.concatenate([often, rarely]))


def test_panes_add_up():
    one, other = selection_odds([3, 90], [5, 7], [1, 4]), selection_odds([90], [11], [2])
    assert selection_odds([3, 90], [5, 18], [1, 6]) == pytest.approx(one + other)
    assert selection_odds([], [], []).tolist() == [0.0] * (2 * len(ODDS))


@pytest.mark.parametrize(
    ("steps", "decisions", "selected", "how"),
    [([1025], [1], [0], "0 to 1024"), ([-1], [1], [0], "0 to 1024"), ([5], [1], [2], "cannot be selected")],
)
def test_what_cannot_be_is_refused(steps, decisions, selected, how):
    with pytest.raises(ValueError, match=how):
        selection_odds(steps, decisions, selected)
    with pytest.raises(ValueError, match="lie above 1"):
        selection_odds([5], [1], [1], odds=[1.0])
