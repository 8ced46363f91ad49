"""The gate: two stretches of streams or scores, the same panes and the same rules as live, one answer.

Each stretch is counted into a store of its own. What the first shows, block by block, is the reference; all of the
second is one window, since the evidence of panes is the evidence of their sum. It is looked at once, so evidence is
enough at 1/α and needs no budget. Missing data never passes. Rules that would wake nobody, of severity info, explain and
do not decide.
"""

import math
from collections.abc import Mapping as Lessons
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from birdwatch.config import Mapping, Settings
from birdwatch.detect.disagreement import DisagreementRule
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Case, Rule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.rate import RateRule
from birdwatch.detect.reference import MIN_BLOCKS, Block, Reference
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.silence import SilenceRule
from birdwatch.detect.traffic import TrafficRule
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.detect.words import about
from birdwatch.errors import BirdwatchError, ReferenceMissingError, SettingsError
from birdwatch.streams import Streams, open_recorded
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter
from birdwatch.windows.pane import Pane
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

__all__ = ["ALPHA", "Exit", "Report", "check", "count", "first_letter", "to_json", "why"]

ALPHA: Final = 0.01
"""The chance that a check fails although nothing changed beyond the tolerance: shared by all that decide by evidence."""

_SHORT_KS: Final = 0.02
_SHORT_MEAN: Final = 0.005
_SHORT_SHARE: Final = 0.02
"""What is in order where the reference is too short to learn it: a distance, a mean difference, a share across a cut."""

_MOST_REQUESTS: Final = 3

_OF_TIME: Final = (TrafficRule, SilenceRule)
"""How much came, and when, is a matter of how long one looked."""


class Exit(IntEnum):
    """What the command exits with; 2 is misuse."""

    PASS = 0
    FAIL = 1
    INCONCLUSIVE = 3


class Report(NamedTuple):
    """The answer, and the verdicts that it rests on."""

    exit: Exit
    reason: str
    verdicts: list[Verdict]


def count(path: Path, settings: Settings, store: Path, letters: Streams) -> tuple[Store, int]:
    """Count an archive, a folder of recorded streams, or one file of scores, into a new store.

    Returns
    -------
    store, dead_letters
        The store is open; ``dead_letters`` rows could not be read.

    Raises
    ------
    SettingsError
        There is no such file.
    """
    if not path.exists():
        raise SettingsError(
            f"there is nothing at {path}: give an archive, a folder of recorded streams, or a file of scores"
        )
    if path.is_file():
        scores = settings.mappings.get("scores", Mapping()).model_copy(update={"topic": path.name.split(".")[0]})
        settings = settings.model_copy(update={"mappings": {**settings.mappings, "scores": scores}})
    place = open_recorded(path if path.is_dir() else path.parent)
    kept = Store(store, pane_seconds=settings.pane_seconds)
    tail = Tail(place, kept, settings, letters=letters, finite=True)
    while tail.step():
        pass
    tail.finish()
    tail.close()
    place.close()
    return kept, tail.dead_letters


class _Judged(NamedTuple):
    """What a rule said, and whether the answer rests on it."""

    rule: Rule
    verdict: Verdict
    decides: bool


def check(reference: Store, current: Store, rules: RuleSet, settings: Settings) -> Report:
    """Judge all of ``current`` by the rules that compare, with ``reference`` as what was in order.

    Raises
    ------
    ReferenceMissingError
        Both hold the same version of a model over the same time: then nothing is compared with anything.
    """
    before, now = reference.closed_range(), current.closed_range()
    if before is None or now is None:
        return Report(Exit.INCONCLUSIVE, f"there are no scores in the {'current' if before else 'reference'} data", [])
    _refuse_overlap(reference, current, before, now)
    first, second = reference.pane(*before), current.pane(*now)
    cases = [(rule, s) for rule in rules.rules if _compares(rule) for s in _subjects(rule, first, second)]
    threshold = math.log(max(1, sum(rule.spends for rule, _ in cases)) / ALPHA)
    known = {
        window: _known(reference, before, window, settings) for window in sorted({rule.window for rule, _ in cases})
    }
    judged = []
    for rule, subject in cases:
        extremes = tuple(e for _, e in current.extremes(*now, subject.model, subject.partner))
        past = known[rule.window]
        case = Case(subject, *now, second, past, settings.scale, settings.unit, extremes)
        judged.append(_judge(rule, case, past, threshold))
    return Report(*_conclude(judged, _absent(first, second, judged)), [j.verdict for j in judged])


def _compares(rule: Rule) -> bool:
    """Tell whether a rule can say anything of two stretches: most compare with a reference, a share is one by itself."""
    compares = rule.compares_with is not None or isinstance(rule, RateRule)
    return compares and not rule.muted and not isinstance(rule, _OF_TIME)


def _subjects(rule: Rule, before: Pane, now: Pane) -> list[Subject]:
    """Name whom a rule judges; an input that was watched before and is gone is not passed over."""
    watched = {subject for subject in rule.subjects(before, ()) if subject.feature}
    return sorted({*rule.subjects(now, ()), *watched})


def _known(store: Store, closed: tuple[int, int], window: int, settings: Settings) -> Reference:
    since = closed[0] - (closed[0] - settings.windows_start_seconds) % window
    blocks = tuple(Block(start, pane) for start, pane in store.blocks(since, closed[1], window).items())
    return Reference("the reference", *closed, window, blocks, scale=settings.scale)


def _judge(rule: Rule, case: Case, known: Reference, threshold: float) -> _Judged:
    """Let a rule judge one subject; what it cannot judge is a verdict too."""
    decides = not rule.dry_run
    try:
        fitted, taught = _fitted(rule, known, case)
        verdict, _ = fitted.judge(case._replace(taught=taught), {}, threshold)
    except (BirdwatchError, ArithmeticError, ValueError) as error:
        return _Judged(rule, rule.say(case, "error", str(error)), decides)
    if verdict.status == "ok" and verdict.n < rule.min_events:
        reason = f"of {about(case.subject)} there are {verdict.n} events, fewer than {rule.min_events}"
        verdict = msgspec.structs.replace(verdict, status="no data", reason=reason)
    blocks = len(known.counts("pair", case.subject.model, case.subject.partner))
    if isinstance(rule, DisagreementRule) and verdict.status == "no data" and 0 < blocks < MIN_BLOCKS:
        # What is usual of single requests is seldom seen in so few blocks; the rule on pairs has its say.
        verdict = msgspec.structs.replace(verdict, reason=f"not applicable: {verdict.reason}")
        decides = False
    return _Judged(rule, verdict, decides and rule.severity_of(verdict) != "info")


def _fitted(rule: Rule, known: Reference, case: Case) -> tuple[Rule, Lessons[str, float]]:
    """Give a rule, and what the reference teaches it: a fixed tolerance where it has too few blocks to learn one from."""
    taught = rule.learned(known, case.subject)
    if not 0 < taught.get("blocks", 0) < MIN_BLOCKS:
        return rule, taught
    if isinstance(rule, DistributionRule) and rule.tolerance == "auto":
        return rule.model_copy(update={"tolerance": _SHORT_KS}), taught
    if isinstance(rule, PairedRule):
        # Few blocks tell where the middle lies, though not how far it strays: said over, they teach the former.
        taught = rule.learned(known._replace(blocks=known.blocks * MIN_BLOCKS), case.subject)
        fixed = {name: _SHORT_SHARE for name in taught if name.startswith("cut_") and name.endswith("_tolerance")}
        return rule, {**taught, **fixed, "mean_tolerance": _SHORT_MEAN / case.unit}
    return rule, taught


def _absent(before: Pane, now: Pane, judged: list[_Judged]) -> list[str]:
    """Say which models of either side were not compared at all: one that is gone, or that gave errors only, must not pass."""
    heard = {j.verdict.subject.model for j in judged if not isinstance(j.rule, RateRule)}
    there = [{s.model for s in pane if s.measure == "counts" and s.model} for pane in (before, now)]
    gone = [f"{model} is in the reference and not in the current data" for model in sorted(there[0] - there[1] - heard)]
    return gone + [f"{model} is in the current data and gave no score" for model in sorted(there[1] - heard)]


def _refuse_overlap(reference: Store, current: Store, before: tuple[int, int], now: tuple[int, int]) -> None:
    shared = (max(before[0], now[0]), min(before[1], now[1]))
    if shared[0] >= shared[1]:
        return
    both = {(s.model, s.version) for s in reference.pane(*shared, measure="score")} & {
        (s.model, s.version) for s in current.pane(*shared, measure="score")
    }
    if both:
        model, version = min(both)
        raise ReferenceMissingError(
            f"the reference and the current data both hold {model} {version} over the same time:"
            " take a reference that was over before"
        )


def _conclude(judged: list[_Judged], absent: list[str]) -> tuple[Exit, str]:
    deciding = [j.verdict for j in judged if j.decides]
    beside = [j.verdict.reason for j in judged if not j.decides and j.verdict.status == "drifting"]
    explained = f"; beside it, {'; '.join(beside)}" if beside else ""
    moved = [v.reason for v in deciding if v.status == "drifting"]
    if moved:
        return Exit.FAIL, "; ".join(moved) + explained
    untold = [*dict.fromkeys(v.reason for v in deciding if v.status != "ok"), *absent]
    if not deciding or untold:
        return Exit.INCONCLUSIVE, "; ".join(untold) or "no rule compares anything in the current data"
    return Exit.PASS, f"{len(deciding)} comparisons, all within their tolerance{explained}"


def why(verdict: Verdict) -> list[str]:
    """Say what lies behind a verdict: the values whose share changed most, the segments, the requests.

    Examples
    --------
    >>> moved = {"moved": [{"value": "0.2 to 0.3", "now": 0.4, "before": 0.1}]}
    >>> said = Verdict(rule="drift", kind="distribution", start=0, end=1, subject=Subject("m"), status="drifting",
    ...                reason="", details=moved)
    >>> why(said)
    ['0.2 to 0.3: 40.0% of all, it was 10.0%']
    """
    found = [f"{m['value']}: {m['now']:.1%} of all, it was {m['before']:.1%}" for m in verdict.details.get("moved", ())]
    found += [
        f"{s['segment']}: {s['value']:.3g} of {s['n']:,}, {s['usual']:.3g} is usual"
        for s in verdict.details.get("segments", ())
    ]
    return found + [
        f"request {e['request_id']}: {e['score']:.3g}, and {e['partner_score']:.3g} by {verdict.subject.partner}"
        for e in verdict.details.get("largest", ())[:_MOST_REQUESTS]
    ]


def first_letter(letters: Streams) -> str:
    """Give the reason of the first dead letter, or nothing."""
    found = letters.reader([DEADLETTERS]).poll(1, 0.0)
    return msgspec.json.decode(found[0].value, type=DeadLetter).reason if found else ""


def to_json(report: Report) -> bytes:
    """Give a report as JSON."""
    return msgspec.json.encode(
        {
            "exit": int(report.exit),
            "verdict": report.exit.name.lower(),
            "reason": report.reason,
            "verdicts": report.verdicts,
        }
    )
