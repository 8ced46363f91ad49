"""The gate of a shadow deployment: a model that answers nobody, beside the one that answers, request by request.

Nothing is learned from a reference: where both scored the same requests, they ought to agree, within the tolerances of the
rules. The evidence is that of all data since the shadow began, so the answer may be asked for again and again while they
grow: the chance that it ever fails a shadow which is in order stays at most α. Where no request was scored by both, the
distributions are compared, with the champion's as the reference; that needs a larger shift to tell.
"""

import math
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from birdwatch.check.gate import ALPHA, judge, without_data
from birdwatch.check.report import Exit, Judged, Report, conclude
from birdwatch.check.warmth import share_bound
from birdwatch.config import Settings
from birdwatch.detect.disagreement import DisagreementRule
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Case, Rule
from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.rate import RateRule
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.share import ShareRule
from birdwatch.detect.verdict import Subject
from birdwatch.errors import SettingsError
from birdwatch.stats.sequences import bounded_mean_band, unbounded_mean_band
from birdwatch.windows.pane import FIXED_POINT, PAIR_COUNTERS, Counts, Pane, Series, counters, total
from birdwatch.windows.roles import models, roles
from birdwatch.windows.store import Store

__all__ = ["MOST_MISSING", "check_shadow"]

MOST_MISSING: Final = 0.01
"""The share of the champion's requests that a shadow may leave without a score."""

_KS: Final = 0.02
"""The distance between distributions that is in order, where requests cannot be compared."""


_NOT_ASKED: Final = "not applicable: {} is a plug-in's kind, which follows a model through time; its judge asks it"


class _Coverage(ShareRule):
    """The share of requests that the champion scored, and the shadow did not."""

    kind: str = "coverage"


def check_shadow(
    store: Store,
    champion: str | None,
    shadow: str,
    rules: RuleSet,
    settings: Settings,
    *,
    alpha: float = ALPHA,
    most_missing: float = MOST_MISSING,
    since: float | None = None,
) -> Report:
    """Judge a shadow by the rules on pairs, errors, nulls and latency, over all that a store holds.

    Parameters
    ----------
    store
        Counted with ``champion`` as the champion of its settings.
    champion, shadow
        Names of models; None is the champion by `birdwatch.windows.roles.roles`.
    alpha
        The chance with which it may fail a shadow that agrees within the tolerances.
    most_missing
        The share of the champion's requests that the shadow may leave without a score; 1 for a shadow that is asked
        now and then only.
    since
        Event time in Unix seconds: panes that begin before are left out. None is when the shadow was last registered, or else
        the beginning. Who asks again must not move it, or α is that of each time.

    Raises
    ------
    SettingsError
        The two are one.
    """
    if champion is None:
        champion = next((m for m, role in roles(store, sys.maxsize).items() if role == "champion"), "")
    if champion == shadow:
        raise SettingsError(f"{champion!r} is compared with itself: name two models")
    named = [role if name == role else f"{role} {name}" for role, name in (("shadow", shadow), ("champion", champion))]
    compared = f"the {named[0]} against the {named[1]}"
    closed = _closed(store, _registered(store, shadow) if since is None else since)
    pane = store.pane(*closed) if closed else {}
    known = models(store)
    for name, role in ((champion, "champion"), (shadow, "shadow")):
        if not _events(pane, name):
            there = f"; there are scores of {', '.join(known)}" if known else ""
            reason = f"the {role} is missing: no score of {name}{there}"
            return Report(Exit.INCONCLUSIVE, reason, compared=compared, alpha=alpha)
    assert closed is not None  # noqa: S101 - there are scores
    paired = any(s.measure == "pair" and (s.model, s.partner) == (shadow, champion) for s in pane)
    judging = [rule for rule in rules.rules if not rule.muted and _applies(rule, paired=paired)]
    cases = [(rule, s) for rule in judging for s in rule.subjects(pane, ()) if _is_of(s, shadow, champion)]
    covers = paired and most_missing < 1
    threshold = math.log(max(1, sum(rule.spends for rule, _ in cases) + covers) / alpha)
    judged = []
    for rule, subject in cases:
        extremes = tuple(e for _, e in store.extremes(*closed, subject.model, subject.partner))
        reference = None if paired else _as_reference(pane, closed, champion, subject, settings)
        case = Case(subject, *closed, pane, reference, settings.scale, settings.unit, extremes)
        judged.append(_with_band(_judged(rule, case, champion, threshold), case, alpha))
    if covers:
        coverage = _Coverage(name="coverage", min_events=1)
        whom = Subject(shadow, partner=champion)
        k, n = _uncovered(store, closed, champion, shadow)
        what = f"of {champion} have no score of {shadow}"
        verdict, _ = coverage.weigh(Case(whom, *closed, pane), k, n, most_missing, what, {}, threshold)
        judged.append(Judged(coverage, verdict, decides=True))
    plugins = _of_plugins(rules, shadow, paired=paired)
    for rule in plugins:
        case = Case(Subject(shadow), *closed, pane)
        judged.append(Judged(rule, rule.say(case, "no data", _NOT_ASKED.format(rule.kind)), decides=False))
    comparing = any(isinstance(rule, PairedRule | DistributionRule) for rule, _ in cases)
    absent = [] if comparing else ["no rule compares the scores of the two: have one of the kind paired"]
    absent += [
        f"the rule {rule.name} must have data, and a plug-in is not asked of a shadow"
        for rule in plugins
        if rule.must_have_data
    ]
    report = conclude(judged, [*absent, *without_data(judging, cases)])
    return report._replace(compared=compared if paired else f"{compared}, not by request", alpha=alpha)


def _registered(store: Store, shadow: str) -> float | None:
    found = [c.ts for c in store.controls() if c.action == "register" and c.model == shadow]
    return found[-1] if found else None


def _closed(store: Store, since: float | None) -> tuple[int, int] | None:
    closed = store.closed_range()
    if closed is None or since is None:
        return closed
    first = max(closed[0], math.ceil(since / store.pane_seconds) * store.pane_seconds)
    return (first, closed[1]) if first < closed[1] else None


def _applies(rule: Rule, *, paired: bool) -> bool:
    """Tell whether a rule can say anything of a shadow: what asks how a day was, or how much came, cannot."""
    if isinstance(rule, DistributionRule):
        return not paired and rule.of == "scores"
    return isinstance(rule, PairedRule | DisagreementRule | RateRule | LatencyRule)


def _of_plugins(rules: RuleSet, shadow: str, *, paired: bool) -> list[Rule]:
    """Give the rules of plug-ins that are not asked: they look from one window to the next, and here is one window."""
    builtin = set(KINDS.values())
    others = [rule for rule in rules.rules if type(rule) not in builtin and not _applies(rule, paired=paired)]
    return [rule for rule in others if not rule.muted and rule.matches(shadow)]


def _is_of(subject: Subject, shadow: str, champion: str) -> bool:
    return subject.model == shadow and subject.partner in ("", champion)


def _judged(rule: Rule, case: Case, champion: str, threshold: float) -> Judged:
    if isinstance(rule, DisagreementRule):
        reason = "not applicable: how far apart single requests usually are, a reference tells"
        return Judged(rule, rule.say(case, "no data", reason, statistic="disagreement"), decides=False)
    return judge(rule, case, lambda: _fitted(rule, case, champion), threshold)


def _with_band(judged: Judged, case: Case, alpha: float) -> Judged:
    """Say between what the mean difference lies, at any time, where that is what was measured."""
    if judged.verdict.kind != "paired" or judged.verdict.statistic != "mean" or not judged.verdict.n:
        return judged
    sums = counters(case.counts("pair"), PAIR_COUNTERS)
    n, total_, squares = sums["n"], sums["sum"] / FIXED_POINT, sums["sum_of_squares"] / FIXED_POINT
    bounded = case.scale == "probability" and squares <= n * (1 + 1e-5)
    band = bounded_mean_band if bounded else unbounded_mean_band
    _, low, high = (float(edge[0]) * case.unit for edge in band([n], [total_], [squares], alpha=alpha))
    if not math.isfinite(low) or not math.isfinite(high):
        return judged
    details = {**judged.verdict.details, "between": [low, high]}
    return judged._replace(verdict=msgspec.structs.replace(judged.verdict, details=details))


def _fitted(rule: Rule, case: Case, champion: str) -> tuple[Rule, Mapping[str, float]]:
    """Give a rule, and what is in order: that the two agree, and that the shadow fails no more often than the champion."""
    if isinstance(rule, PairedRule):
        return rule, rule.agreed(case)
    if isinstance(rule, RateRule) and rule.tolerance == "auto":
        theirs = counters(_of(case.pane, "counts", champion))
        return rule, {"tolerance": max(rule.least, share_bound(theirs[rule.of], max(1, theirs["events"])))}
    if isinstance(rule, DistributionRule) and rule.tolerance == "auto":
        return rule.model_copy(update={"tolerance": _KS}), {}
    return rule, {}


def _as_reference(
    pane: Pane, closed: tuple[int, int], champion: str, subject: Subject, settings: Settings
) -> Reference:
    """Give the champion's scores as what the shadow's are compared with."""
    theirs: dict[Series, Counts] = {Series("score", subject.model): _of(pane, "score", champion)}
    block = Block(closed[0], theirs)
    return Reference(f"the champion {champion}", *closed, closed[1] - closed[0], (block,), scale=settings.scale)


def _uncovered(store: Store, closed: tuple[int, int], champion: str, shadow: str) -> tuple[int, int]:
    """Count what the champion scored without the shadow, of how much, since the shadow was there.

    The first pane in which the shadow was seen is left out, since it may have begun in the midst of it; unless that is the
    first of all.
    """
    asked: dict[int, int] = {}
    for start, series, counts in store.rows(*closed, measure="counts", model=champion, segment=""):
        asked[start] = asked.get(start, 0) + counters(counts)["events"] * (not series.partner)
    met: dict[int, int] = {}
    for start, series, counts in store.rows(*closed, measure="pair", model=shadow, segment=""):
        if series.partner == champion:
            met[start] = met.get(start, 0) + counters(counts, PAIR_COUNTERS)["n"]
    first = min(met)
    began = first if first == min(asked, default=first) or first == max(asked) else first + store.pane_seconds
    n = sum(events for start, events in asked.items() if start >= began)
    return max(0, n - sum(k for start, k in met.items() if start >= began)), n


def _events(pane: Pane, model: str) -> int:
    return counters(_of(pane, "counts", model))["events"]


def _of(pane: Mapping[Series, Counts], measure: str, model: str) -> Counts:
    """Add up a measure over the versions of a model."""
    return total(c for s, c in pane.items() if (s.measure, s.model, s.partner, s.segment) == (measure, model, "", ""))
