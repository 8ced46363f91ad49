"""Attribution: whose fault it is, read off what pairs, scores and watched inputs show at one time.

A model under test and its partner saw the same requests. What moved both is in the inputs; what moved one against the
other is in that one. The partner of a challenger is the champion, that of the champion the canary, which stays the same
while everything else changes.

=========  ================  ================  ===============================================  ========
pair       model's scores    partner's scores  what happened                                    at most
=========  ================  ================  ===============================================  ========
quiet      quiet             quiet             nothing
quiet      moved             moved             inputs changed                                   ticket
quiet      moved             quiet             drifts alone, slightly (that model)              ticket
alarm      moved or quiet    quiet             the model changed                                page
alarm      quiet             moved             the partner changed; or the canary: look at it   page
alarm      moved             moved             inputs changed, and the two differ on them       ticket
alarm      any               any               the same, where watched inputs moved             ticket
=========  ================  ================  ===============================================  ========

Scores are told apart by the day, and a pair by the hour. So where a third model is compared with one of the two, it is
asked first: the one of a pair that agrees with others as usual is not the one that changed, and the one that differs from
all others is.

Models that agree while all is as usual may differ on inputs that neither has seen often, and no fault of theirs need
be the cause: so where inputs that are watched have moved, an alarm of a pair wakes nobody. If it is the model's fault
after all, the evidence gathers again, and speaks when the inputs are themselves again.

One finding says that the inputs changed, for the whole fleet, and silences what would be said of single models: that
two models move on the same day each by itself is much rarer, and if one of them stays so it is named the day after.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp
from typing import Any, Final, Literal, NamedTuple

from birdwatch.detect.kind import Rule
from birdwatch.detect.verdict import Finding, Severity, Subject, Verdict

__all__ = [
    "CANARY_CHANGED",
    "DRIFTS_ALONE",
    "INPUTS_CHANGED",
    "INPUTS_CHANGED_AND_DIFFER",
    "INPUT_MOVED",
    "MODEL_CHANGED",
    "NO_DATA",
    "PAIR_CHANGED",
    "PARTNER_CHANGED",
    "RULE_FAILED",
    "UNKNOWN",
    "Company",
    "Judged",
    "Seen",
    "attribute",
    "because",
    "explain_inputs",
    "explain_pair",
    "explain_scores",
    "guilty",
    "plain",
    "speaks",
]

MODEL_CHANGED: Final = "the model changed"
PARTNER_CHANGED: Final = "the partner changed"
CANARY_CHANGED: Final = "the canary changed: look at it before you trust it"
PAIR_CHANGED: Final = "the model or its partner changed"
INPUTS_CHANGED: Final = "inputs changed"
INPUTS_CHANGED_AND_DIFFER: Final = "inputs changed, and the models differ on them"
INPUT_MOVED: Final = "an input moved"
DRIFTS_ALONE: Final = "drifts alone"
UNKNOWN: Final = "drift, cause unknown"
RULE_FAILED: Final = "the rule cannot judge"
NO_DATA: Final = "no data"

_ORDER: Final[tuple[Severity, ...]] = ("info", "ticket", "page")
_MOST_NAMED: Final = 3


class Judged(NamedTuple):
    """A rule and what it said."""

    rule: Rule
    verdict: Verdict


class Company(NamedTuple):
    """How one of a pair stands with third models at the same time: with whom it agrees as usual, and from whom it differs.

    Of many, the first few are named.
    """

    agrees: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What was seen beside a pair's alarm: whether either's scores moved (None: nobody could judge), and which inputs.

    ``with_model`` and ``with_partner`` say how each stands with third models.
    """

    model: bool | None = None
    partner: bool | None = None
    inputs: tuple[Verdict, ...] = ()
    with_model: Company = Company()
    with_partner: Company = Company()

    @property
    def suspect(self) -> Literal["model", "partner"] | None:
        """Tell which of the two it is, if third models tell: the one that agrees with nobody, or differs from all others."""
        model, partner = self.with_model, self.with_partner
        if bool(model.agrees) != bool(partner.agrees):
            return "partner" if model.agrees else "model"
        if not model.agrees and bool(model.differs) != bool(partner.differs):
            return "model" if model.differs else "partner"
        return None


def attribute(
    alarm: bool,
    model: bool | None,
    partner: bool | None,
    *,
    inputs: bool = False,
    canary: bool = False,
    suspect: Literal["model", "partner"] | None = None,
) -> str:
    """Read the table: whether the pair alarms, the model's and the partner's scores moved (None: unknown), inputs did.

    Where third models tell which of the two it is, that is the ``suspect``: requests say it sooner than a day of scores.

    Examples
    --------
    >>> attribute(alarm=True, model=False, partner=False)
    'the model changed'
    >>> attribute(alarm=True, model=False, partner=False, suspect="partner")
    'the partner changed'
    >>> attribute(alarm=False, model=True, partner=True)
    'inputs changed'
    """
    if alarm and inputs:
        return INPUTS_CHANGED_AND_DIFFER
    if model and partner:
        return INPUTS_CHANGED_AND_DIFFER if alarm else INPUTS_CHANGED
    if not alarm:
        return DRIFTS_ALONE if model or partner else ""
    if suspect != "model" and (partner or suspect == "partner"):
        return CANARY_CHANGED if canary else PARTNER_CHANGED
    return PAIR_CHANGED if suspect is None and partner is None and not model else MODEL_CHANGED


def guilty(subject: Subject, cause: str) -> str:
    """Name the model that a pair's alarm is about; empty where it is about none."""
    if cause == MODEL_CHANGED:
        return subject.model
    return subject.partner if cause in (PARTNER_CHANGED, CANARY_CHANGED) else ""


def plain(judged: Judged, attribution: str = "", most: Severity = "page", reason: str = "") -> Finding:
    """Tell a verdict as it is, in force if its rule would alarm; without data, if it must have some."""
    rule, verdict = judged
    failed = verdict.status == "error"
    lacks = verdict.status == "no data" and rule.must_have_data
    cause = RULE_FAILED if failed else NO_DATA if lacks else attribution
    return rule.tell(
        verdict.subject,
        verdict.end,
        severity=_at_most(rule.severity if lacks else rule.severity_of(verdict), "ticket" if failed else most),
        active=rule.alarms(verdict) or lacks,
        reason=reason or verdict.reason,
        attribution=cause,
        **_measured(verdict),
    )


def _measured(verdict: Verdict) -> dict[str, Any]:
    """Give what a finding says of a verdict's numbers, by the finding's names."""
    return {
        "statistic": verdict.statistic,
        "value": verdict.value,
        "tolerance": verdict.tolerance,
        "n": verdict.n,
        "since": verdict.details.get("since") if verdict.status == "drifting" else None,
        "effect": verdict.effect,
        "evidence": verdict.evidence,
        # A look at the level A is expected to raise at most 1/A false alarms.
        "cost": None if verdict.threshold is None else exp(-verdict.threshold),
    }


def explain_pair(judged: Judged, cause: str, why: str) -> Finding:
    """Tell what a rule said of a pair whose alarm is on, and why."""
    most: Severity = "ticket" if cause == INPUTS_CHANGED_AND_DIFFER else "page"
    return plain(judged, cause, most, f"{judged.verdict.reason}: {why}")


def because(subject: Subject, cause: str, seen: Seen) -> str:
    """Say in words what a cause was read off."""
    model, partner = f"{subject.model} {subject.version}".strip(), subject.partner
    if cause == INPUTS_CHANGED_AND_DIFFER:
        what = _named(seen.inputs) or "the scores of both moved"
        return f"inputs changed ({what}), and the two differ on them"
    look = ", look at it before you trust it" if cause == CANARY_CHANGED else ""
    bad, good = (model, partner) if cause == MODEL_CHANGED else (partner, model)
    others, all_differ = (
        (seen.with_partner, seen.with_model) if cause == MODEL_CHANGED else (seen.with_model, seen.with_partner)
    )
    if cause == PAIR_CHANGED:
        return f"nobody could judge whether the scores of {partner} moved, so either may have changed"
    if seen.suspect and others.agrees:
        return f"{good} agrees with {' and '.join(others.agrees)} as usual, so {bad} changed{look}"
    if seen.suspect and all_differ.differs:
        return f"{bad} differs from {' and '.join(all_differ.differs)} too, so {bad} changed{look}"
    still = seen.partner if cause == MODEL_CHANGED else seen.model
    calm = f"{good} stood still, so" if still is False else f"the scores of {bad} moved:"
    return f"{calm} {bad} changed{look}"


def _named(inputs: Sequence[Verdict]) -> str:
    """Name the inputs that moved most, and how."""
    most = sorted(inputs, key=lambda v: -v.effect)[:_MOST_NAMED]
    return "; ".join(f"{v.subject.feature}: {v.details.get('told', '')}".rstrip(": ") for v in most)


def explain_scores(
    scores: Sequence[Judged], alarms: Mapping[Subject, str | None], inputs: Sequence[Verdict] = ()
) -> list[Finding]:
    """Explain what rules on the scores of single models said of one window.

    Parameters
    ----------
    scores
        Their verdicts.
    alarms
        The pairs that were judged, and the cause of the alarm that is on; None where none is.
    inputs
        Watched inputs that moved in it.

    Returns
    -------
    list[Finding]
        Clean windows are findings that are not active. Of what could not be judged there is none, nor of what a finding
        on another subject explains: such a window counts neither for nor against.
    """
    moved = _moved(scores)
    both = [pair for pair in sorted(alarms) if moved.get((pair.model, pair.version)) and moved.get((pair.partner, ""))]
    pairs: dict[str, list[Subject]] = {}
    for pair in sorted(alarms):
        for model in {pair.model, pair.partner}:
            pairs.setdefault(model, []).append(pair)
    findings = [
        found
        for judged in scores
        for found in _of_scores(judged, alarms, pairs.get(judged.verdict.subject.model, []), silent=bool(both))
    ]
    return [*findings, *_of_inputs(scores, alarms, both, inputs)]


def explain_inputs(inputs: Sequence[Judged], *, silent: bool) -> list[Finding]:
    """Tell of watched inputs that moved, unless it was said already that the inputs changed."""
    return [
        plain(judged, INPUT_MOVED if judged.verdict.status == "drifting" else "", "ticket")
        for judged in inputs
        if speaks(judged) and not (silent and judged.verdict.status == "drifting")
    ]


def speaks(judged: Judged) -> bool:
    """Tell whether there is anything to tell: of no data there is not, unless a rule must have some or speaks of it."""
    return judged.verdict.status != "no data" or judged.rule.must_have_data or judged.rule.alarms(judged.verdict)


def _moved(scores: Iterable[Judged]) -> dict[tuple[str, str], bool]:
    """Tell by (model, version) whether scores moved; an empty version stands for any. What nobody judged is not there."""
    moved: dict[tuple[str, str], bool] = {}
    for _, verdict in scores:
        if verdict.status in ("ok", "drifting"):
            for which in ((verdict.subject.model, verdict.subject.version), (verdict.subject.model, "")):
                moved[which] = moved.get(which, False) or verdict.status == "drifting"
    return moved


def _of_scores(
    judged: Judged, alarms: Mapping[Subject, str | None], mine: Sequence[Subject], *, silent: bool
) -> Iterable[Finding]:
    verdict = judged.verdict
    subject = verdict.subject
    if verdict.status != "drifting":
        return [plain(judged)] if speaks(judged) else []
    told = any(guilty(pair, cause) in ("", subject.model) for pair in mine if (cause := alarms[pair]) is not None)
    if silent or told:
        return []
    if not mine:
        why = "cause unknown: there is no partner that it could be compared with"
        return [plain(judged, UNKNOWN, "ticket", f"{verdict.reason}; {why}")]
    partners = sorted({pair.partner if pair.model == subject.model else pair.model for pair in mine})
    why = f"requests show no difference to {', '.join(partners)} beyond what is usual"
    return [plain(judged, DRIFTS_ALONE, "ticket", f"{verdict.reason}: it drifts alone, slightly; {why}")]


def _of_inputs(
    scores: Sequence[Judged], alarms: Mapping[Subject, str | None], both: Sequence[Subject], inputs: Sequence[Verdict]
) -> Iterable[Finding]:
    """Say once for the fleet whether the inputs changed."""
    told = [judged for judged in scores if not judged.rule.muted]
    if not told or not alarms:
        return
    rule = min((judged.rule for judged in told), key=lambda r: r.name)
    end = told[0].verdict.end
    if not both:
        reason = "no two models moved together"
        yield rule.tell(Subject(), end, severity="ticket", active=False, reason=reason)
        return
    moved = sorted((j.verdict for j in scores if j.verdict.status == "drifting"), key=lambda v: -v.effect)
    together = {name for s in both for name in (s.model, s.partner)}
    shown = {
        f"{v.subject.model} ({v.statistic.upper()} {v.value:.2f})": None for v in moved if v.subject.model in together
    }
    reason = f"inputs changed: the scores of {', '.join(shown)} moved together"
    still = sorted(
        {j.verdict.subject.model for j in scores if j.verdict.status == "ok"} - {v.subject.model for v in moved}
    )
    reason += f", those of {', '.join(still)} did not" if still else ""
    named = _named(inputs)
    reason += f"; of the inputs moved {named}" if named else ""
    differ = [pair for pair in both if alarms[pair] is not None]
    reason += "".join(f"; {s.model} {s.version} and {s.partner} differ on them" for s in differ)
    most = next(v for v in moved if v.subject.model in together)
    yield rule.tell(
        Subject(),
        end,
        severity=_at_most(rule.severity, "ticket"),
        active=True,
        reason=reason,
        attribution=INPUTS_CHANGED,
        **_measured(most),
    )


def _at_most(severity: Severity, most: Severity) -> Severity:
    return min(severity, most, key=_ORDER.index)
