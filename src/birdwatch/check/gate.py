"""The gate: two stretches of scores, the same panes and the same rules as live, one answer.

Each stretch is counted into a store of its own. What the first shows, block by block, is the reference; all of the
second is one window. Missing data never passes.
"""

import math
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from birdwatch.config import Mapping, Settings
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Case, Rule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.reference import MIN_BLOCKS, Block, Reference
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.verdict import Verdict
from birdwatch.errors import ReferenceMissingError, SettingsError
from birdwatch.streams import Streams, open_streams
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter
from birdwatch.windows.pane import Pane
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

__all__ = ["ALPHA", "Exit", "Report", "check", "count", "first_letter", "to_json"]

ALPHA: Final = 0.01
"""The chance that a check fails although nothing changed beyond the tolerance: shared by all that decide by evidence."""

_FALLBACK_TOLERANCE: Final = {DistributionRule: 0.02, PairedRule: 0.005}
"""What is in order where the reference is too short to learn it from: a distance, a mean difference in units."""


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
    """Count a folder of recorded streams, or one file of scores, into a new store.

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
        raise SettingsError(f"there is nothing at {path}: give a folder of recorded streams, or a file of scores")
    if path.is_file():
        scores = settings.mappings.get("scores", Mapping()).model_copy(update={"topic": path.name.split(".")[0]})
        settings = settings.model_copy(update={"mappings": {**settings.mappings, "scores": scores}})
    place = open_streams(f"files:{path if path.is_dir() else path.parent}")
    kept = Store(store, pane_seconds=settings.pane_seconds)
    tail = Tail(place, kept, settings, letters=letters, finite=True)
    while tail.step():
        pass
    tail.finish()
    tail.close()
    place.close()
    return kept, tail.dead_letters


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
    pane = current.pane(*now)
    comparing = [rule for rule in rules.rules if rule.compares_with is not None and not rule.muted]
    cases = [(rule, subject) for rule in comparing for subject in rule.subjects(pane, ())]
    spending = sum(rule.spends for rule, _ in cases)
    threshold = math.log(max(1, spending) / ALPHA)
    verdicts = []
    for rule, subject in cases:
        blocks = tuple(
            Block(start, found)
            for start, found in reference.blocks(_aligned(before[0], rule, settings), before[1], rule.window).items()
        )
        known = Reference("the reference", before[0], before[1], rule.window, blocks)
        extremes = tuple(e for _, e in current.extremes(*now, subject.model, subject.partner))
        case = Case(subject, *now, pane, known, settings.scale, settings.unit, extremes)
        verdict, _ = _with_tolerance(rule, known, case).judge(case, {}, threshold)
        verdicts.append(verdict)
    return Report(*_conclude(verdicts, _absent(reference.pane(*before), pane, verdicts)), verdicts)


def _absent(before: Pane, now: Pane, verdicts: list[Verdict]) -> list[str]:
    """Say which models of either side were not compared at all: one that is gone, or that gave errors only, must not pass."""
    heard = {v.subject.model for v in verdicts}
    there = [{s.model for s in pane if s.measure == "counts" and s.model} for pane in (before, now)]
    gone = [f"{model} is in the reference and not in the current data" for model in sorted(there[0] - there[1] - heard)]
    return gone + [f"{model} is in the current data and gave no score" for model in sorted(there[1] - heard)]


def _aligned(moment: int, rule: Rule, settings: Settings) -> int:
    return moment - (moment - settings.windows_start_seconds) % rule.window


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


def _with_tolerance(rule: Rule, known: Reference, case: Case) -> Rule:
    """Give a rule a fixed tolerance where the reference has too few blocks to learn one from."""
    measure = "difference" if case.subject.partner else "score"
    blocks = len(known.counts(measure, case.subject.model, case.subject.partner))
    fallback = _FALLBACK_TOLERANCE.get(type(rule))
    if fallback is None or getattr(rule, "tolerance", None) != "auto" or not 0 < blocks < MIN_BLOCKS:
        return rule
    return rule.model_copy(update={"tolerance": fallback})


def _conclude(verdicts: list[Verdict], absent: list[str]) -> tuple[Exit, str]:
    moved = [v for v in verdicts if v.status == "drifting"]
    if moved:
        return Exit.FAIL, "; ".join(v.reason for v in moved)
    untold = [*dict.fromkeys(v.reason for v in verdicts if v.status != "ok"), *absent]
    if not verdicts or untold:
        return Exit.INCONCLUSIVE, "; ".join(untold) or "no rule compares anything in the current data"
    return Exit.PASS, f"{len(verdicts)} comparisons, all within their tolerance"


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
