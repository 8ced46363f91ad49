"""The judge: every rule over every window that has closed, each once.

It runs inside the caller's transaction. Verdicts, what the rules remember, how far each has come, and the alerts that
follow from its findings are therefore kept together with the panes that caused them, or not at all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from birdwatch.detect.attribution import Judged, plain
from birdwatch.detect.budget import Spending, Watch
from birdwatch.detect.duration import say_duration
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.pairs import PairRule
from birdwatch.detect.parts import with_parts
from birdwatch.detect.reference import Reference
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.service import Gone, gone, why_over
from birdwatch.detect.sourcing import References
from birdwatch.detect.spending import create_table as create_ledger
from birdwatch.detect.spending import put_spending, read_spending, write_looks
from birdwatch.detect.state import create_tables, drop_state, put_state, read_states
from birdwatch.detect.sums import WindowSums
from birdwatch.detect.telling import Telling
from birdwatch.detect.verdict import Finding, Severity, Subject, Verdict, create_table, put_verdicts
from birdwatch.detect.witness import Witness, cause_of, remembering, standing
from birdwatch.errors import BirdwatchError, SettingsError
from birdwatch.stats.grid import Scale
from birdwatch.windows.pane import Pane
from birdwatch.windows.store import Store

__all__ = ["Judge"]

_EMPTY_WINDOWS: Final = 3
"""So many windows without a pane are judged; a longer stretch is passed over."""

_EXTREMES: Final = 5
_SEVERITIES: Final[tuple[Severity, ...]] = ("page", "ticket", "info")
_WAITING: Final = "waiting"


class _Due(NamedTuple):
    """A rule and the window that it is to judge, with whom it finds in it and what it knows of them."""

    rule: Rule
    start: int
    end: int
    pane: Pane
    states: dict[Subject, State]
    subjects: list[Subject]


class Judge:
    """Evaluates rules over the windows of a store.

    Parameters
    ----------
    store
        Open for writing.
    rules
        From `birdwatch.detect.rules.load_rules`.
    windows_start_seconds
        When a day's window starts, in seconds after midnight UTC.
    judge_from
        Event time before which panes are only reference; by default everything is judged.
    references
        Frozen references, used in place of the trailing ones that rules name: files, or as read.
    scale, unit
        How scores are counted, see the settings.
    canary
        The canary's name, beside those on the stream ``canary``.

    Raises
    ------
    SettingsError
        A rule's window is not a whole number of the store's panes.
    """

    def __init__(
        self,
        store: Store,
        rules: RuleSet,
        *,
        windows_start_seconds: int = 0,
        judge_from: float | None = None,
        references: Sequence[Path | Reference] = (),
        scale: Scale = "probability",
        unit: float = 1.0,
        canary: str = "",
    ) -> None:
        for rule in rules.rules:
            if rule.window % store.pane_seconds:
                raise SettingsError(
                    f"the rule {rule.name!r} judges windows of {say_duration(rule.window)}, which is not a whole number"
                    f" of the store's panes of {say_duration(store.pane_seconds)}: change one of them"
                )
        self._store = store
        self._rules = rules
        self._offset = windows_start_seconds
        self._judge_from = judge_from
        self._scale: Scale = scale
        self._unit = unit
        self._canary = canary
        self._sums = WindowSums(store, most=2 * len(rules.rules) + 8)
        self._telling = Telling(store, rules)
        self._references = References(self._sums, rules, references, scale, windows_start_seconds=windows_start_seconds)
        create_table(store)
        create_tables(store)
        create_ledger(store)

    def step(self, closed_until: int) -> list[Finding]:
        """Judge every window that has closed by ``closed_until`` and was not judged yet, in order of time.

        Returns
        -------
        list[Finding]
            What each window shows, clean ones included; to be handed to the alerts' lifecycle in the same transaction.
        """
        closed = self._store.closed_range()
        if closed is None:
            return []
        progress: dict[str, int] = self._store.noted("judged_until", {})
        # All rules are noted at once: one that judges longer windows than the others is not one that came later.
        progress |= {rule.name: self._next(rule, progress, closed[0]) for rule in self._rules.rules}
        ends = {rule.name: rule.window for rule in self._rules.rules}
        findings: list[Finding] = []
        while ends:
            end = min(progress[name] + window for name, window in ends.items())
            if end > closed_until:
                break
            due = [rule for rule in self._rules.rules if progress[rule.name] + rule.window == end]
            findings += self._judge(due, end)
            for rule in due:
                progress[rule.name] = self._skip(rule, end)
            self._store.note("judged_until", progress)
        return findings

    def budget(self) -> dict[Severity, Spending]:
        """Tell how the budget of each severity is spent, as of the last window."""
        return read_spending(self._store)

    def _next(self, rule: Rule, progress: dict[str, int], first: int) -> int:
        """Give the start of the first window that a rule has not judged."""
        if rule.name in progress:
            return progress[rule.name]
        # A rule that is added later begins where the others are: nobody wants to be woken for last month.
        if progress:
            return self._aligned(rule, max(progress.values()), up=True)
        return self._aligned(
            rule, first if self._judge_from is None else self._judge_from, up=self._judge_from is not None
        )

    def _aligned(self, rule: Rule, moment: float, *, up: bool) -> int:
        whole, rest = divmod(moment - self._offset, rule.window)
        return int(whole + (1 if up and rest else 0)) * rule.window + self._offset

    def _skip(self, rule: Rule, start: int) -> int:
        """Pass over a long stretch without any pane: what there is to say of silence has been said by then."""
        row: Any = self._store.connection.execute(
            "SELECT min(start) FROM closed WHERE start >= ?", (start - _EMPTY_WINDOWS * rule.window,)
        ).fetchone()
        return start if row[0] is None else max(start, self._aligned(rule, row[0], up=False))

    def _judge(self, rules: list[Rule], end: int) -> list[Finding]:
        """Judge the windows that end at one moment."""
        out = gone(self._store.controls(), end)
        due = [self._look(rule, end) for rule in rules]
        spending = self._spend(due)
        findings: list[Finding] = []
        judged: list[tuple[_Due, Judged, State]] = []
        over: set[tuple[str, Subject]] = set()
        for one in due:
            ended = self._end(one, out)
            findings += ended
            over |= {(one.rule.name, finding.subject) for finding in ended}
            subjects = [s for s in one.subjects if (one.rule.name, s) not in over or one.rule.judges_ended]
            findings += self._waits(one, subjects)
            for subject in subjects:
                verdict, state = self._verdict(one, subject, one.states.get(subject, {}), out, spending)
                judged.append((one, Judged(one.rule, verdict), state))
        put_verdicts(self._store, [j.verdict for _, j, _ in judged])
        on_pairs = [(one, j, state) for one, j, state in judged if isinstance(one.rule, PairRule)]
        witness = Witness(
            self._rules.rules,
            lambda rule: self._alone(rule, end, out, spending),
            [j.verdict for one, j, _ in on_pairs if not one.rule.muted],
        )
        last: dict[str, dict[Subject, State]] = {}
        causes = standing(self._telling.remembered())
        for one, (rule, verdict), state in judged:
            subject, kept = verdict.subject, state
            if isinstance(rule, PairRule):
                canary = subject.partner in self._canaries()
                cause = cause_of(verdict, one.states.get(subject, {}), witness, canary=canary)
                cause = self._telling.by_one(rule, cause, causes.setdefault(subject, {}))
                kept = remembering(state, cause)
            if (rule.name, subject) not in over:
                put_state(self._store, rule.name, subject, kept)
            else:
                last.setdefault(rule.name, {})[subject] = kept
        findings += self._telling.of([j for _, j, _ in judged], last)
        return self._telling.aloud(findings)

    def _alone(self, rule: Rule, end: int, out: Gone, spending: dict[Severity, Spending]) -> list[Verdict]:
        """Judge the window of a rule that ends at a moment by itself, whoever is in it."""
        one = self._look(rule, end)
        return [self._verdict(one, subject, {}, out, spending)[0] for subject in one.subjects]

    def _canaries(self) -> set[str]:
        return {source.model for source in self._store.sources() if source.stream == "canary"} | {self._canary}

    def _look(self, rule: Rule, end: int) -> _Due:
        start = end - rule.window
        pane = self._sums.pane(start, end)
        states = read_states(self._store, rule.name)
        return _Due(rule, start, end, pane, states, rule.subjects(pane, states.keys()))

    def _spend(self, due: list[_Due]) -> dict[Severity, Spending]:
        """Set the level of each rule from how many subjects all of its severity watch now, and enter what that costs."""
        watched: dict[str, int] = self._store.noted("watched", {})
        # Whom a rule knows it watches, though an hour without traffic shows nobody: the level must not fall at night.
        watched.update({one.rule.name: len(_known(one)) for one in due if one.rule.spends})
        # A rule whose first window is not over yet will watch whom it finds in those at hand.
        for rule in self._rules.rules:
            if rule.spends and rule.name not in watched:
                watched[rule.name] = max(len(rule.subjects(one.pane, ())) for one in due)
        spending: dict[Severity, Spending] = {}
        for severity in _SEVERITIES:
            spending[severity] = self._rules.budget.spend(
                Watch(r.name, watched.get(r.name, 0), r.window, r.weight, tried=r.muted or r.dry_run)
                for r in self._rules.rules
                if r.spends and r.severity == severity
            )
        for one in due:
            share = spending[one.rule.severity].rules.get(one.rule.name)
            looks = len(one.subjects)
            if share is not None and looks and not share.tried:
                write_looks(self._store, one.end, one.rule.severity, one.rule.name, looks=looks, level=share.level)
        self._store.note("watched", watched)
        put_spending(self._store, spending)
        return spending

    def _end(self, one: _Due, out: Gone) -> list[Finding]:
        """Tell of subjects that have ended, once, and forget them."""
        findings = []
        for subject in sorted({*one.states, *one.subjects}):
            why = why_over(subject, one.pane, out)
            if why:
                drop_state(self._store, one.rule.name, subject)
                findings.append(one.rule.tell(subject, one.end, active=False, reason=why, over=True))
        return findings

    def _waits(self, one: _Due, subjects: list[Subject]) -> list[Finding]:
        """Say once that a rule has nothing to judge, and not again until it had; each time, if it must have data."""
        rule, fleet = one.rule, one.states.get(Subject())
        if subjects:
            if fleet is None or Subject() in subjects:
                return []
            drop_state(self._store, rule.name, Subject())
            back = rule.say(Case(Subject(), one.start, one.end, one.pane), "ok", "there is something to judge again")
            found = msgspec.structs.replace(plain(Judged(rule, back)), over=True)
            return [found] if rule.must_have_data else []
        reason = f"nothing came on the stream {rule.stream} that this rule could judge; it waits"
        verdict = rule.say(Case(Subject(), one.start, one.end, one.pane), "no data", reason)
        if not (fleet or {}).get(_WAITING):
            put_verdicts(self._store, [verdict])
            put_state(self._store, rule.name, Subject(), {**(fleet or {}), _WAITING: True})
        return [plain(Judged(rule, verdict))] if rule.must_have_data else []

    def _verdict(
        self, one: _Due, subject: Subject, state: State, out: Gone, spending: dict[Severity, Spending]
    ) -> tuple[Verdict, State]:
        """Let a rule judge one subject; what it cannot judge is a verdict too, and stops nothing."""
        rule = one.rule
        case = Case(subject, one.start, one.end, one.pane, scale=self._scale, unit=self._unit)
        threshold = spending[rule.severity].threshold(rule.name) if rule.spends else 0.0
        try:
            part = self._sums.part(one.start, one.end, subject.model, subject.version)
            known = self._references.of(
                rule, one.start, one.end, subject=subject, part=part, rolled_back=out.rolled_back
            )
            if subject.partner:
                extremes = self._store.extremes(one.start, one.end, subject.model, subject.partner)
                case = case._replace(extremes=tuple(e for _, e in extremes if e.version == subject.version)[:_EXTREMES])
            verdict, after = rule.judge(case._replace(reference=known.reference, taught=known.taught), state, threshold)
        except (BirdwatchError, ArithmeticError, ValueError) as error:
            return rule.say(case, "error", str(error)), state
        except KeyError as error:
            return rule.say(case, "error", f"what its reference teaches lacks {error}: freeze it again"), state
        except Exception as error:
            if type(rule) in KINDS.values():
                raise
            return rule.say(case, "error", f"the plug-in of kind {rule.kind!r} failed: {error!r}"), state
        if verdict.alarmed:
            verdict = with_parts(self._store, rule, verdict, known.reference, self._scale)
        return verdict, after


def _known(one: _Due) -> set[Subject]:
    """Give whom a rule watches: those in the window, and those it has judged and not seen end."""
    return {*one.subjects, *(subject for subject, state in one.states.items() if state.keys() != {_WAITING})}
