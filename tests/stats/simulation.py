"""Unchanged data, many times over: does evidence keep the page budget that its level promises?"""

import numpy as np

A = 200.0
"""A level so low that its promise can be tested: one expected false alarm in 200 windows."""


def alarms_by_stream(draw, *, streams=2_000, windows=40, level=A, seed=1):
    """Count alarms over windows of all streams at once; ``draw(rng, streams)`` gives log ratios, (streams, k).

    The recursion is written out here once more, so that a fault of the package's own would not hide itself.
    """
    rng = np.random.default_rng(seed)
    alarms, r = 0, None
    for _ in range(windows):
        ratios = draw(rng, streams)
        r = np.zeros_like(ratios) if r is None else r
        r = (1 + r) * np.exp(ratios)
        fired = r.mean(axis=-1) >= level
        alarms += int(fired.sum())
        r[fired] = 0.0
    return alarms, streams * windows / level


def keeps_budget(draw, **how):
    """Tell whether alarms stay within what the level allows, and three standard deviations of chance."""
    alarms, budget = alarms_by_stream(draw, **how)
    return alarms <= budget + 3 * np.sqrt(budget)
