"""Telling: what operators hear of the verdicts of one moment - each thing once, by whom it concerns, as loudly as it may.

Causes are read off by `birdwatch.detect.attribution`; here is decided who tells them.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from birdwatch.detect.attribution import (
    INPUTS_CHANGED,
    Judged,
    explain_inputs,
    explain_pair,
    explain_scores,
    guilty,
    plain,
    speaks,
)
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Rule, State
from birdwatch.detect.pairs import PairRule
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.state import blame, read_states
from birdwatch.detect.verdict import Finding, Severity, Subject, Verdict, read_verdicts
from birdwatch.detect.witness import Cause, standing
from birdwatch.windows.store import Store

__all__ = ["Telling"]

_LOUD: Final[tuple[Severity, ...]] = ("info", "ticket", "page")


class Telling:
    """Turns verdicts into findings.

    Parameters
    ----------
    store
        Open for writing: it keeps which models were bad.
    rules
        All rules in force.
    """

    def __init__(self, store: Store, rules: RuleSet) -> None:
        self._store = store
        self._rules = rules

    def remembered(self) -> dict[str, dict[Subject, State]]:
        """Give what the rules on pairs remember, of those that are heard."""
        heard = [rule for rule in self._rules.rules if isinstance(rule, PairRule) and not rule.muted]
        return {rule.name: read_states(self._store, rule.name) for rule in heard}

    def by_one(self, rule: Rule, cause: Cause | None, others: dict[str, Cause]) -> Cause | None:
        """Let another rule tell what this one sees too, if it tells the same and may be as loud."""
        others.pop(rule.name, None)
        if cause is None or rule.muted:
            return cause
        loudness = {r.name: _LOUD.index("info" if r.dry_run else r.severity) for r in self._rules.rules}
        first = min(
            (other for other in others.values() if other.what == cause.what), key=lambda c: c.told, default=None
        )
        if first is not None and cause.by == rule.name and loudness.get(first.by, -1) >= loudness[rule.name]:
            cause = msgspec.structs.replace(cause, by=first.by)
        others[rule.name] = cause
        return cause

    def of(self, judged: list[Judged], last: dict[str, dict[Subject, State]]) -> list[Finding]:
        """Turn the verdicts of one moment into findings, and remember which models were bad.

        ``last`` has what rules would remember of subjects that are over.
        """
        states = {name: found | last.get(name, {}) for name, found in self.remembered().items()}
        causes = standing(states)
        own = {pair.model for pair, of in causes.items() for c in of.values() if guilty(pair, c.what) == pair.model}
        findings = [found for j in judged if isinstance(j.rule, PairRule) for found in self._of_pair(j, causes, own)]
        alarms: dict[Subject, str | None] = {pair: None for found in states.values() for pair in found}
        alarms |= {pair: next(iter(found.values())).what for pair, found in causes.items()}
        inputs_changed = False
        for window in sorted({j.rule.window for j in judged}):
            scores = [j for j in judged if is_about(j.rule, "scores") and j.rule.window == window]
            several = sum(j.verdict.status == "drifting" for j in scores) > 1
            told = explain_scores(scores, alarms, self._inputs(scores[0].verdict) if several else ())
            inputs_changed |= any(f.active and f.attribution == INPUTS_CHANGED for f in told)
            findings += told
        findings += explain_inputs([j for j in judged if is_about(j.rule, "features")], silent=inputs_changed)
        others = [j for j in judged if not isinstance(j.rule, PairRule | DistributionRule)]
        return findings + [plain(j) for j in others if speaks(j)]

    def _inputs(self, over: Verdict) -> list[Verdict]:
        """Give the watched inputs that moved while another window lasted, each at its farthest."""
        farthest: dict[str, Verdict] = {}
        for rule in self._rules.rules:
            if is_about(rule, "features"):
                for verdict in read_verdicts(self._store, over.start, over.end, rule.name):
                    before = farthest.get(verdict.subject.feature)
                    if verdict.status == "drifting" and (before is None or verdict.effect > before.effect):
                        farthest[verdict.subject.feature] = verdict
        return list(farthest.values())

    def _of_pair(self, judged: Judged, causes: dict[Subject, dict[str, Cause]], own: set[str]) -> list[Finding]:
        """Tell of a pair; an alarm with the same cause is told by one rule, and that a champion changed once.

        ``own`` are the models whose own pair, with the partner that they are compared with, says that they changed.
        """
        rule, verdict = judged
        pair = verdict.subject
        if verdict.status != "drifting":
            told_for_another = any(cause.by == rule.name for cause in causes.get(pair, {}).values())
            return [plain(judged)] if speaks(judged) and not told_for_another else []
        cause = causes.get(pair, {}).get(rule.name)
        if cause is None:
            return []
        bad = guilty(pair, cause.what)
        if bad and not rule.dry_run:
            blame(self._store, bad, verdict.start, verdict.end)
        elsewhere = bad == pair.partner and bad in own
        return [explain_pair(judged, cause.what, cause.why)] if cause.by == rule.name and not elsewhere else []

    def aloud(self, findings: Iterable[Finding]) -> list[Finding]:
        """Leave out what muted rules say, and take the weight off what is only tried."""
        by_name = {rule.name: rule for rule in self._rules.rules}
        return [as_told(by_name[f.rule], f) for f in findings if not by_name[f.rule].muted]


def is_about(rule: Rule, what: str) -> bool:
    """Tell whether a rule is on the distribution of scores, or of features."""
    return isinstance(rule, DistributionRule) and rule.of == what


def as_told(rule: Rule, finding: Finding) -> Finding:
    """Take the weight off what a rule says that only tries what it would do."""
    if not rule.dry_run or not finding.active:
        return finding
    reason = f"dry run, this would have been a {finding.severity}: {finding.reason}"
    return msgspec.structs.replace(finding, severity="info", reason=reason, cost=0.0)
