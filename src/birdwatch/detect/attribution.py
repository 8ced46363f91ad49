"""Attribution: whose fault it is, read off one window's verdicts on pairs and on the scores of each model.

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
=========  ================  ================  ===============================================  ========

One finding says that the inputs changed, for the whole fleet, and silences what would be said of single models: that
two models move on the same day each by itself is much rarer, and if one of them stays so it is named the day after.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from birdwatch.detect.kind import Rule
from birdwatch.detect.verdict import Finding, Severity, Subject, Verdict

__all__ = [
    "CANARY_CHANGED",
    "DRIFTS_ALONE",
    "INPUTS_CHANGED",
    "INPUTS_CHANGED_AND_DIFFER",
    "MODEL_CHANGED",
    "PAIR_CHANGED",
    "PARTNER_CHANGED",
    "RULE_FAILED",
    "UNKNOWN",
    "Explained",
    "Judged",
    "attribute",
    "explain",
    "plain",
]

MODEL_CHANGED: Final = "the model changed"
PARTNER_CHANGED: Final = "the partner changed"
CANARY_CHANGED: Final = "the canary changed: look at it before you trust it"
PAIR_CHANGED: Final = "the model or its partner changed"
INPUTS_CHANGED: Final = "inputs changed"
INPUTS_CHANGED_AND_DIFFER: Final = "inputs changed, and the models differ on them"
DRIFTS_ALONE: Final = "drifts alone"
UNKNOWN: Final = "drift, cause unknown"
RULE_FAILED: Final = "the rule cannot judge"

_ORDER: Final[tuple[Severity, ...]] = ("info", "ticket", "page")


class Judged(NamedTuple):
    """A rule and what it said."""

    rule: Rule
    verdict: Verdict


class Explained(NamedTuple):
    """What operators are told of a window, and which models were bad in it."""

    findings: list[Finding]
    blamed: frozenset[str]


def attribute(alarm: bool, model: bool | None, partner: bool | None, *, canary: bool = False) -> str:
    """Read the table: whether the pair alarms, whether the model's and the partner's scores moved (None: unknown).

    Examples
    --------
    >>> attribute(alarm=True, model=False, partner=False)
    'the model changed'
    >>> attribute(alarm=False, model=True, partner=True)
    'inputs changed'
    """
    if model and partner:
        return INPUTS_CHANGED_AND_DIFFER if alarm else INPUTS_CHANGED
    if not alarm:
        return DRIFTS_ALONE if model or partner else ""
    if partner:
        return CANARY_CHANGED if canary else PARTNER_CHANGED
    if partner is None and not model:
        return PAIR_CHANGED
    return MODEL_CHANGED


def plain(judged: Judged, attribution: str = "", most: Severity = "page", reason: str = "") -> Finding:
    """Tell a verdict as it is, in force if its rule would alarm."""
    rule, verdict = judged
    failed = verdict.status == "error"
    return Finding(
        rule=rule.name,
        subject=verdict.subject,
        ts=verdict.end,
        severity=_at_most(rule.severity, "ticket" if failed else most),
        active=rule.alarms(verdict),
        reason=reason or verdict.reason,
        attribution=RULE_FAILED if failed else attribution,
        statistic=verdict.statistic,
        value=verdict.value,
        tolerance=verdict.tolerance,
        n=verdict.n,
        windows=rule.for_windows,
    )


def explain(pairs: Sequence[Judged], scores: Sequence[Judged], canaries: Collection[str] = ()) -> Explained:
    """Explain all that the rules on pairs and on scores said of one window.

    Parameters
    ----------
    pairs, scores
        The verdicts of paired rules, and of rules on distributions.
    canaries
        The models that only compare.

    Returns
    -------
    Explained
        Clean windows are findings that are not active. Of what could not be judged there is none, nor of what a finding
        on another subject explains: such a window counts neither for nor against.
    """
    moved = _moved(scores)
    causes = {
        judged.verdict.subject: attribute(
            judged.verdict.status == "drifting",
            moved.get((judged.verdict.subject.model, judged.verdict.subject.version)),
            moved.get((judged.verdict.subject.partner, "")),
            canary=judged.verdict.subject.partner in canaries,
        )
        for judged in pairs
        if judged.verdict.status in ("ok", "drifting")
    }
    both = {s for s, cause in causes.items() if cause in (INPUTS_CHANGED, INPUTS_CHANGED_AND_DIFFER)}
    guilty = {s: _guilty(s, cause) for s, cause in causes.items()} if not both else {}
    blamed = frozenset(model for model in guilty.values() if model)
    still = {model for (model, version), any_moved in moved.items() if not version and not any_moved}
    findings = [f for judged in pairs for f in _of_pair(judged, causes, still, silent=bool(both), guilty=guilty)]
    findings += [f for judged in scores for f in _of_scores(judged, causes, silent=bool(both), blamed=blamed)]
    findings += _of_inputs(scores, causes, both)
    return Explained(findings, blamed)


def _moved(scores: Iterable[Judged]) -> dict[tuple[str, str], bool]:
    """Tell by (model, version) whether scores moved; an empty version stands for any. What nobody judged is not there."""
    moved: dict[tuple[str, str], bool] = {}
    for _, verdict in scores:
        if verdict.status in ("ok", "drifting"):
            for which in ((verdict.subject.model, verdict.subject.version), (verdict.subject.model, "")):
                moved[which] = moved.get(which, False) or verdict.status == "drifting"
    return moved


def _guilty(subject: Subject, cause: str) -> str:
    if cause == MODEL_CHANGED:
        return subject.model
    return subject.partner if cause in (PARTNER_CHANGED, CANARY_CHANGED) else ""


def _of_pair(
    judged: Judged, causes: dict[Subject, str], still: Collection[str], *, silent: bool, guilty: dict[Subject, str]
) -> Iterable[Finding]:
    subject = judged.verdict.subject
    if judged.verdict.status in ("ok", "error"):
        yield plain(judged)
    elif judged.verdict.status == "drifting":
        cause = causes[subject]
        # That a champion changed is said once, of the champion, and not again by each of its challengers.
        said = any(other.model == subject.partner == name for other, name in guilty.items())
        if not silent and not (cause == PARTNER_CHANGED and said):
            yield plain(judged, cause, reason=f"{judged.verdict.reason}: {_because(subject, cause, still)}")


def _because(subject: Subject, cause: str, still: Collection[str]) -> str:
    model, partner = f"{subject.model} {subject.version}".strip(), subject.partner
    if cause == PAIR_CHANGED:
        return f"nobody could judge whether the scores of {partner} moved, so either may have changed"
    if cause == MODEL_CHANGED:
        return f"{partner} stood still, so {model} changed" if partner in still else f"the scores of {model} moved"
    calm = f"{model} stood still, so" if subject.model in still else f"the scores of {partner} moved:"
    return f"{calm} {partner} changed" + (", look at it before you trust it" if cause == CANARY_CHANGED else "")


def _of_scores(
    judged: Judged, causes: dict[Subject, str], *, silent: bool, blamed: Collection[str]
) -> Iterable[Finding]:
    verdict = judged.verdict
    subject = verdict.subject
    if verdict.status in ("ok", "error"):
        yield plain(judged)
    elif verdict.status == "drifting" and not silent and subject.model not in blamed:
        partners = sorted(
            {
                s.partner if s.model == subject.model else s.model
                for s in causes
                if subject.model in (s.model, s.partner)
            }
        )
        if partners:
            yield plain(
                judged,
                DRIFTS_ALONE,
                "ticket",
                f"{verdict.reason}: it drifts alone, slightly; requests show no difference to {', '.join(partners)}"
                " beyond what is usual",
            )
        else:
            yield plain(
                judged,
                UNKNOWN,
                "ticket",
                f"{verdict.reason}; cause unknown: there is no partner that it could be compared with",
            )


def _of_inputs(scores: Sequence[Judged], causes: dict[Subject, str], both: Collection[Subject]) -> Iterable[Finding]:
    """Say once for the fleet whether the inputs changed."""
    told = [judged for judged in scores if not judged.rule.muted]
    if not told or not causes:
        return
    rule = min((judged.rule for judged in told), key=lambda r: r.name)
    end = told[0].verdict.end
    if not both:
        reason = "no two models moved together"
        yield Finding(
            rule=rule.name,
            subject=Subject(),
            ts=end,
            severity="ticket",
            active=False,
            reason=reason,
            windows=rule.for_windows,
        )
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
    differ = [s for s in sorted(both) if causes[s] == INPUTS_CHANGED_AND_DIFFER]
    reason += "".join(f"; {s.model} {s.version} and {s.partner} differ on them" for s in differ)
    most = next(v for v in moved if v.subject.model in together)
    yield Finding(
        rule=rule.name,
        subject=Subject(),
        ts=end,
        severity=_at_most(rule.severity, "ticket"),
        active=True,
        reason=reason,
        attribution=INPUTS_CHANGED,
        statistic=most.statistic,
        value=most.value,
        tolerance=most.tolerance,
        n=most.n,
        windows=rule.for_windows,
    )


def _at_most(severity: Severity, most: Severity) -> Severity:
    return min(severity, most, key=_ORDER.index)
