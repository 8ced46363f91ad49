"""The gate: two stretches of streams or scores, the same panes and the same rules as live, one answer.

Each stretch is counted into a store of its own. What the first shows, block by block, is the reference; all of the
second is one window, since the evidence of panes is the evidence of their sum. It is looked at once, so evidence is
enough at 1/α and needs no budget. Missing data never passes. Rules that would wake nobody, of severity info, explain and
do not decide.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Lessons
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.check.order import patient
from birdwatch.check.report import Exit, Judged, Report, conclude
from birdwatch.config import Mapping, Settings
from birdwatch.detect.disagreement import DisagreementRule
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Case, Rule
from birdwatch.detect.paired import AGREED_MEAN, AGREED_SHARE, PairedRule
from birdwatch.detect.rate import RateRule
from birdwatch.detect.reference import MIN_BLOCKS, Block, Reference
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.silence import SilenceRule
from birdwatch.detect.traffic import TrafficRule
from birdwatch.detect.verdict import Subject
from birdwatch.detect.words import about
from birdwatch.errors import BirdwatchError, ReferenceMissingError, SettingsError
from birdwatch.streams import Streams, is_recorded, open_recorded, open_streams
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter
from birdwatch.streams.formats import SUFFIXES
from birdwatch.windows.counting import Counting
from birdwatch.windows.pane import Pane
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

__all__ = ["ALPHA", "check", "count", "count_at", "count_two", "first_letter", "judge", "without_data"]

ALPHA: Final = 0.01
"""The chance that a check fails although nothing changed beyond the tolerance: shared by all that decide by evidence."""

_SHORT_KS: Final = 0.02
"""The distance that is in order where the reference is too short to learn it."""

_IDLE_POLLS: Final = 10
_AT_ONCE: Final = 100_000
"""So many rows of recorded streams are read at a time: each time costs a commit."""

_NEEDED: Final = ("request_id", "request_ts", "score")

_OF_TIME: Final = (TrafficRule, SilenceRule)
"""How much came, and when, is a matter of how long one looked."""


def count(path: Path, settings: Settings, store: Path, letters: Streams) -> tuple[Store, int]:
    """Count an archive, a folder of recorded streams, or one file of scores, into a new store.

    Returns
    -------
    store, dead_letters
        The store is open; ``dead_letters`` rows could not be read.

    Raises
    ------
    SettingsError
        There is no such file, or its name does not tell how to read it.
    """
    if not path.exists():
        raise SettingsError(
            f"there is nothing at {path}: give an archive, a folder of recorded streams, or a file of scores"
        )
    if path.is_file():
        settings = _from_file(settings, "scores", path.name.removesuffix(_suffix(path)))
        settings = patient(settings, "scores", path)
    return _count(open_recorded(path if path.is_dir() else path.parent), settings, store, letters, recorded=True)


def count_at(place: str, settings: Settings, store: Path, letters: Streams) -> tuple[Store, int]:
    """Count what a path or an address names, into a new store; as `count` or `count_streams`."""
    if not Path(place).exists() and ":" in place:
        return count_streams(place, settings, store, letters)
    return count(Path(place), settings, store, letters)


def count_streams(address: str, settings: Settings, store: Path, letters: Streams) -> tuple[Store, int]:
    """Count streams into a new store, up to what they hold now: those that are written meanwhile have no other end.

    Returns
    -------
    store, dead_letters
        As of `count`.
    """
    return _count(open_streams(address), settings, store, letters, recorded=is_recorded(address))


def _count(place: Streams, settings: Settings, store: Path, letters: Streams, *, recorded: bool) -> tuple[Store, int]:
    kept = Store(store, pane_seconds=settings.pane_seconds)
    # The store is gone after the check: nothing in it is too old to be compared with.
    settings = settings.model_copy(update={"keep_panes_days": None})
    tail = Tail(place, kept, settings, letters=letters, finite=True)
    if recorded:
        while tail.step(_AT_ONCE, timeout=0.0):
            pass
    else:
        ends, idle = place.ends(sorted(Counting(settings, now=time.time).topics)), 0
        # The last offset of a transaction is a mark that nobody reads.
        while not tail.reading.reached(ends) and idle < _IDLE_POLLS:
            idle = 0 if tail.step() else idle + 1
    tail.finish()
    tail.close()
    place.close()
    return kept, tail.dead_letters


def count_two(champion: Path, shadow: Path, settings: Settings, store: Path, letters: Streams) -> tuple[Store, int]:
    """Count two files of scores for the same requests, each by one model, into a new store.

    The models are called ``champion`` and ``shadow``, whatever the files call them.

    Returns
    -------
    store, dead_letters
        As of `count`.

    Raises
    ------
    SettingsError
        One of the files is not there, or its name does not tell how to read it.
    """
    with tempfile.TemporaryDirectory(prefix="birdwatch-two-") as folder:
        # The partner of whoever is champion is on the stream of the canary: so the two files meet, request by request.
        for path, stream, model in ((shadow, "scores", "shadow"), (champion, "canary", "champion")):
            if not path.is_file():
                raise SettingsError(f"there is no file {path}: give a file of scores of each, or DATA that holds both")
            Path(folder, stream + _suffix(path)).symlink_to(path.resolve())
            settings = patient(_from_file(settings, stream, stream, model), stream, path)
        roles = {"champion": "shadow", "canary": "champion"}
        return count_streams(f"files:{folder}", settings.model_copy(update=roles), store, letters)


def _suffix(path: Path) -> str:
    """Give what a file's name ends in, which tells how it is read; what stands before may have dots too."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise SettingsError(f"{path} has none of the endings that tell how to read a file: {', '.join(SUFFIXES)}")


def _from_file(settings: Settings, stream: str, topic: str, model: str = "") -> Settings:
    """Say that a stream of scores is found in a file, by the mapping of scores; all of it is ``model``'s, if one is named."""
    given = settings.mappings.get("scores", Mapping())
    found = given.model_copy(update={"topic": topic})
    if model:
        constants = {"version": "", **given.constants, "model": model}
        fields = {name: name for name in _NEEDED if name not in constants} | given.fields
        constants = {name: value for name, value in constants.items() if name == "model" or name not in fields}
        fields.pop("model", None)
        found = found.model_copy(update={"fields": fields, "constants": constants})
    return settings.model_copy(update={"mappings": {**settings.mappings, stream: found}})


def check(reference: Store, current: Store, rules: RuleSet, settings: Settings, alpha: float = ALPHA) -> Report:
    """Judge all of ``current`` by the rules that compare, with ``reference`` as what was in order.

    Parameters
    ----------
    alpha
        The chance with which it may fail although nothing changed beyond the tolerance.

    Raises
    ------
    ReferenceMissingError
        Both hold the same version of a model over the same time: then nothing is compared with anything.
    """
    before, now = reference.closed_range(), current.closed_range()
    if before is None or now is None:
        return Report(Exit.INCONCLUSIVE, f"there are no scores in the {'current' if before else 'reference'} data")
    _refuse_overlap(reference, current, before, now)
    first, second = reference.pane(*before), current.pane(*now)
    comparing = [rule for rule in rules.rules if _compares(rule)]
    cases = [(rule, s) for rule in comparing for s in _subjects(rule, first, second)]
    threshold = math.log(max(1, sum(rule.spends for rule, _ in cases)) / alpha)
    known = {
        window: _known(reference, before, window, settings) for window in sorted({rule.window for rule, _ in cases})
    }
    judged = []
    for rule, subject in cases:
        extremes = tuple(e for _, e in current.extremes(*now, subject.model, subject.partner))
        past = known[rule.window]
        case = Case(subject, *now, second, past, settings.scale, settings.unit, extremes)
        judged.append(_judge(rule, case, past, threshold))
    report = conclude(judged, [*_absent(first, second, judged), *without_data(comparing, cases)])
    return report._replace(compared="the current data against the reference", alpha=alpha)


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


def _judge(rule: Rule, case: Case, known: Reference, threshold: float) -> Judged:
    """Let a rule judge one subject by what the reference teaches."""
    judged = judge(rule, case, lambda: _fitted(rule, known, case), threshold)
    blocks = len(known.counts("pair", case.subject.model, case.subject.partner))
    if isinstance(rule, DisagreementRule) and judged.verdict.status == "no data" and 0 < blocks < MIN_BLOCKS:
        # What is usual of single requests is seldom seen in so few blocks; the rule on pairs has its say.
        reason = f"not applicable: {judged.verdict.reason}"
        return Judged(rule, msgspec.structs.replace(judged.verdict, reason=reason), decides=False)
    return judged


def judge(rule: Rule, case: Case, fit: Callable[[], tuple[Rule, Lessons[str, float]]], threshold: float) -> Judged:
    """Let a rule judge one subject; what it cannot judge is a verdict too.

    Parameters
    ----------
    fit
        Gives the rule with its tolerances, and what is in order.
    threshold
        ln A.
    """
    decides = not rule.dry_run
    try:
        fitted, taught = fit()
        verdict, _ = fitted.judge(case._replace(taught=taught), {}, threshold)
    except (BirdwatchError, ArithmeticError, ValueError) as error:
        return Judged(rule, rule.say(case, "error", str(error)), decides)
    if verdict.status == "ok" and verdict.n < rule.min_events:
        reason = f"of {about(case.subject)} there are {verdict.n} events, fewer than {rule.min_events}"
        verdict = msgspec.structs.replace(verdict, status="no data", reason=reason)
    return Judged(rule, verdict, decides and rule.severity_of(verdict) != "info")


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
        fixed = {name: AGREED_SHARE for name in taught if name.startswith("cut_") and name.endswith("_tolerance")}
        return rule, {**taught, **fixed, "mean_tolerance": AGREED_MEAN / case.unit}
    return rule, taught


def _absent(before: Pane, now: Pane, judged: list[Judged]) -> list[str]:
    """Say which models of either side were not compared at all: one that is gone, or that gave errors only, must not pass."""
    heard = {j.verdict.subject.model for j in judged if not isinstance(j.rule, RateRule)}
    there = [{s.model for s in pane if s.measure == "counts" and s.model} for pane in (before, now)]
    gone = [f"{model} is in the reference and not in the current data" for model in sorted(there[0] - there[1] - heard)]
    return gone + [f"{model} is in the current data and gave no score" for model in sorted(there[1] - heard)]


def without_data(rules: Iterable[Rule], cases: Sequence[tuple[Rule, Subject]]) -> list[str]:
    """Say which of the rules must have data, and found nobody whom they are about."""
    judging = {rule.name for rule, _ in cases}
    silent = [rule.name for rule in rules if rule.must_have_data and rule.name not in judging]
    return [f"the rule {name} must have data, and there is none that it is about" for name in silent]


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


def first_letter(letters: Streams) -> str:
    """Give the reason of the first dead letter, or nothing."""
    found = letters.reader([DEADLETTERS]).poll(1, 0.0)
    return msgspec.json.decode(found[0].value, type=DeadLetter).reason if found else ""
