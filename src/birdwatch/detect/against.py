"""Scores against the frozen reference of the rule that judges them: the distances that people ask for, each with its error.

A rule reports one distance, by its window. Here are all three, and the whole distribution, against the very reference that
the rule compares with; a rule whose reference trails has none that stays, and no place here.
"""

from typing import Any

import pandas as pd

from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.duration import say_duration, say_moment
from birdwatch.detect.reference import DAY, Reference
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.sourcing import References
from birdwatch.detect.verdict import Subject
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import Scale
from birdwatch.windows.heat import distances, distances_frame, step_of
from birdwatch.windows.pane import Counts, total
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span

__all__ = ["frozen_distance_table", "frozen_scores", "rule_with_frozen"]


def rule_with_frozen(rules: RuleSet, model: str, *, given: bool = False) -> DistributionRule | None:
    """Name the first rule that compares the scores of a model with a frozen reference.

    Parameters
    ----------
    given
        The settings give references, which all rules then compare with.
    """
    for rule in rules.rules:
        if not (isinstance(rule, DistributionRule) and rule.of == "scores" and rule.matches(model)):
            continue
        if given or rule.reference.frozen is not None:
            return rule
    return None


def frozen_scores(
    rule: DistributionRule, references: References, since: int, model: str, segment: str = ""
) -> tuple[Reference, Counts]:
    """Give the frozen reference by which a rule judges what comes from ``since`` on, and the scores of a model in it.

    Raises
    ------
    ReferenceMissingError
        It is missing, cannot be used, was not over by then, or holds no such scores.
    """
    # All hours of the day together, where the rule looks at one at a time: what is shown is not one hour.
    everything = rule.model_copy(update={"reference": rule.reference.model_copy(update={"by": None})})
    found, scores = _scores(everything, references, (since, since + rule.window), [Subject(model)], segment)
    if found.until > since:
        raise ReferenceMissingError(
            f"{found.name} ends at {say_moment(found.until)}, and the range begins before that: a range that begins later can"
            " be compared with it"
        )
    return found, scores


def frozen_distance_table(
    store: Store,
    span: Span,
    rule: DistributionRule,
    references: References,
    model: str,
    *,
    scale: Scale = "probability",
    unit: float = 1.0,
    segment: str = "",
    starts_at: int = 0,
) -> pd.DataFrame:
    """Give how far a model's scores lie, window by window of a rule, from the rule's frozen reference.

    Of many windows several are one step, and only whole ones are looked at: the last one that was over, at the least.

    Parameters
    ----------
    starts_at
        When a day's window starts, in seconds after midnight UTC.

    Returns
    -------
    DataFrame
        ``time, statistic, value, error, chance, n`` as of `birdwatch.windows.heat.distance_table`, ``tolerance``, the KS
        that is in order by the rule (NaN where that is not known, and of other statistics), and ``against``, the
        reference's name. Windows for which there was no such reference are left out.

    Raises
    ------
    ReferenceMissingError
        There was none for any window.
    """
    step, rule = _step(store, span, rule)
    until = (span.until - starts_at) // step * step + starts_at
    since = min((span.since - starts_at) // step * step + starts_at, until - step)
    found: dict[int, dict[Subject, list[Counts]]] = {}
    for start, series, counts in store.rows(since, until, measure="score", model=model, segment=segment, step=step):
        at = since + (start - since) // step * step
        found.setdefault(at, {}).setdefault(Subject(model, series.version), []).append(counts)
    rows: list[tuple[Any, ...]] = []
    trouble: ReferenceMissingError | None = None
    for at, versions in sorted(found.items()):
        window = (at, at + step)
        try:
            against, before = _scores(rule, references, window, list(versions), segment)
        except ReferenceMissingError as error:
            trouble = error
            continue
        tolerance = _tolerance(rule, references, window, next(iter(versions)))
        now = total(c for parts in versions.values() for c in parts)
        rows += [
            (at, *row, tolerance if row[0] == "ks" else None, against.name)
            for row in distances(now, before, scale, unit)
        ]
    if trouble is not None and not rows:
        raise trouble
    return distances_frame(rows, "tolerance", "against").astype({"tolerance": float})


def _step(store: Store, span: Span, rule: DistributionRule) -> tuple[int, DistributionRule]:
    """Choose how many windows are one step; of days, where hours of the day are compared among themselves."""
    step = -(-step_of(store, span).step // rule.window) * rule.window
    if rule.reference.by is None or step == rule.window:
        return step, rule
    whole = rule.model_copy(update={"reference": rule.reference.model_copy(update={"by": None}), "tolerance": "auto"})
    return -(-step // DAY) * DAY, whole


def _scores(
    rule: DistributionRule, references: References, window: tuple[int, int], versions: list[Subject], segment: str
) -> tuple[Reference, Counts]:
    # Each version has to be new to it: one that is part of its own reference finds itself in order.
    reference, model = Reference("", 0, 0, 0, ()), versions[0].model
    for subject in versions:
        reference = references.of(rule, *window, subject=subject, part=None, rolled_back=()).reference or reference
    blocks = reference.counts("score", model, segment=segment)
    if not blocks:
        whom = f"{model} in {segment}" if segment else model
        raise ReferenceMissingError(
            f"{reference.name} holds no scores of {whom}: freeze it again where they are counted"
            f" (`birdwatch reference freeze --block {say_duration(rule.window)}`)"
        )
    return reference, total(blocks)


def _tolerance(
    rule: DistributionRule, references: References, window: tuple[int, int], subject: Subject
) -> float | None:
    if rule.tolerance != "auto":
        return rule.tolerance
    return references.of(rule, *window, subject=subject, part=None, rolled_back=()).taught.get("tolerance")
