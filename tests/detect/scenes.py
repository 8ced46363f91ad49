"""Scenes to judge: days of scores of a champion, a challenger and a canary, counted as the tail counts them."""

import functools

import numpy as np

from birdwatch.detect.kind import Case
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.verdict import Subject
from birdwatch.records import Control
from birdwatch.stats.grid import bins_of
from birdwatch.streams import Partition
from birdwatch.windows.joint import joint_bins
from birdwatch.windows.pane import COUNTERS, FIXED_POINT, PRESENCE, Counts, Series, merge, selection_bin
from birdwatch.windows.store import Source, Store

DAY = 86_400
HOUR = 3_600


def counted(**n):
    return Counts.of([COUNTERS.index(name) for name in n], list(n.values()))


def scores_pane(scores, version="1", *, scale="probability"):
    """One pane of scores by model; the others are compared with the champion, and the champion with the canary."""
    versions = {name: version if name == "challenger" else "1" for name in scores}
    pane = {}
    for name, values in scores.items():
        pane[Series("counts", name, versions[name])] = counted(events=values.size)
        pane[Series("score", name, versions[name])] = Counts.of(bins_of(values, scale))
    pairs = [(name, "champion") for name in scores if name not in ("champion", "canary")] + [("champion", "canary")]
    for name, partner in pairs:
        if name in scores and partner in scores:
            d = scores[name] - scores[partner]
            where = (name, versions[name], partner)
            sums = [d.size, int(np.rint(d * FIXED_POINT).sum()), int(np.ceil(d * d * FIXED_POINT).sum()), 0]
            pane[Series("pair", *where)] = Counts.of(range(4), sums)
            pane[Series("difference", *where)] = Counts.of(bins_of(d))
            apart = bins_of(scores[name], "probability") - bins_of(scores[partner], "probability")
            pane[Series("apart", *where)] = Counts.of(apart)
            pane[Series("joint", *where)] = Counts.of(joint_bins(scores[name], scores[partner], scale))
    return pane


def inputs_pane(*, missing=0, **inputs):
    """One pane of watched inputs: arrays of numbers, or how many requests there were of each category."""
    pane = {}
    for name, values in inputs.items():
        if isinstance(values, dict):
            pane |= {Series(f"category.{name}", segment=one): Counts.of([0], [n]) for one, n in values.items()}
            present = sum(values.values())
        else:
            pane[Series(f"feature.{name}")] = Counts.of(bins_of(values, "real"))
            present = len(values)
        gaps = {"missing": missing, "present": present}
        pane[Series(f"missing.{name}")] = Counts.of([PRESENCE.index(what) for what in gaps], list(gaps.values()))
    return pane


def answers_pane(n, *, missed=0, fallbacks=0, requests=None):
    pane = {Series("counts"): counted(requests=n if requests is None else requests, decisions=n, sla_misses=missed)}
    pane[Series("selection", "champion", "1")] = Counts.of(
        [selection_bin(0, "first choice")] * (n - fallbacks) + [selection_bin(1, "timed out")] * fallbacks
    )
    return pane


def draw(rng, n=800, *, inputs=0.0, challenger=0.0, canary=0.0, champion=0.0, permute=False):
    """Scores of the models for the same requests; a difference is a shift on the logit scale."""
    x = rng.normal(-1.5 + inputs + rng.normal(0, 0.08), 0.8, n)

    def score(shift, noise):
        return 1 / (1 + np.exp(-(x + shift + rng.normal(0, noise, n))))

    found = {"champion": score(champion, 0.05), "challenger": score(challenger, 0.1), "canary": score(canary, 0.3)}
    if permute:
        found["challenger"] = rng.permutation(found["challenger"])
    return found


def reference_of(panes, *, start=0, name="the reference", whole=True):
    blocks = tuple(Block(start + i * DAY, pane) for i, pane in enumerate(panes))
    return Reference(name, start, start + len(blocks) * DAY, DAY, blocks, whole)


@functools.cache
def month(seed=1, days=28, **changes):
    rng = np.random.default_rng(seed)
    return tuple(scores_pane(draw(rng, **changes)) for _ in range(days))


def case(pane, subject, reference=None, start=100 * DAY):
    return Case(Subject(*subject), start, start + DAY, pane, reference)


def fill(store, days, *, first=0, answered=True):
    """Put one pane a day, hourly panes being as good: what a day of the story says is keyword arguments of `draw`."""
    rng = np.random.default_rng(7)
    with store.transaction():
        store.put_sources([Source("canary", 0, "canary", 0.0, idle=False)])
        for day, story in enumerate(days):
            if story is None:
                continue
            told = dict(story)
            version, left_out = told.pop("version", "1"), told.pop("without", ())
            values = {name: v for name, v in draw(rng, **told).items() if name not in left_out}
            n = values["champion"].size if "champion" in values else 0
            parts = [scores_pane(values, version), answers_pane(n)] if answered else [scores_pane(values, version)]
            store.put(first + day * DAY, merge(parts))


def control(store, offset, ts, action, model, version, **params):
    record = Control(ts=ts, action=action, author="me", reason="", model=model, version=version, params=params)
    store.put_control(Partition("control"), offset, record)


def daily(path):
    return Store(path, pane_seconds=DAY)
