"""Where a rule's reference comes from: the windows before the one it judges, or a frozen file."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from birdwatch.detect.duration import say_duration, say_moment
from birdwatch.detect.frozen import as_document, from_document, keep_measures, learn, load, with_tolerances
from birdwatch.detect.kind import Rule
from birdwatch.detect.reach import step_of
from birdwatch.detect.reference import DAY, Reference, ReferenceChoice, choose, versionless
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.service import gone
from birdwatch.detect.sums import Part, WindowSums
from birdwatch.detect.verdict import Subject
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import Scale
from birdwatch.windows.store import Store

__all__ = ["Known", "References", "freeze"]


_MOST_KNOWN: Final = 256
_MOST_LESSONS: Final = 32_768  # a few numbers each, for some rules a histogram: half a gigabyte at the most


class Known(NamedTuple):
    """A reference, and what it teaches a rule of a subject."""

    reference: Reference | None
    taught: Mapping[str, float]


class _File(NamedTuple):
    """A file as it was when it was read: its reference, or why it is none."""

    stamp: tuple[int, ...] | None
    found: Reference | str


class References:
    """Gives each rule its reference.

    Files are read when they are first asked for, and again when they change. One that is missing or wrong stops the
    rules that compare with it, and nothing else; it is used as soon as it is there.

    Parameters
    ----------
    sums
        The windows of the store.
    rules
        Those that will ask; what they name is looked for in their folder.
    given
        Frozen references, used in place of the trailing ones that rules name: files, or as read.
    scale
        How scores are counted.
    windows_start_seconds
        When a day's window starts, in seconds after midnight UTC.
    """

    def __init__(
        self,
        sums: WindowSums,
        rules: RuleSet,
        given: Sequence[Path | Reference],
        scale: Scale,
        *,
        windows_start_seconds: int = 0,
    ) -> None:
        self._sums = sums
        self._offset = windows_start_seconds
        self._trailing: OrderedDict[tuple[Any, ...], Known] = OrderedDict()
        self._lessons: OrderedDict[tuple[Any, ...], Known] = OrderedDict()
        self._learned: dict[tuple[str, Subject], Known] = {}
        self._folder = rules.folder
        self._given = tuple(given)
        self._scale: Scale = scale
        self._files: dict[Path, _File] = {}

    def of(
        self,
        rule: Rule,
        start: int,
        end: int,
        *,
        subject: Subject,
        part: Part | None,
        rolled_back: Collection[tuple[str, str]],
    ) -> Known:
        """Give the reference with which a rule compares a subject in the window [start, end), or the part of it.

        Raises
        ------
        ReferenceMissingError
            The frozen reference is missing or cannot be used, saw the subject in the very window, or its blocks have
            another length.
        """
        choice = rule.compares_with
        if choice is None:
            return Known(None, {})
        if choice.frozen is None and not self._given:
            return self._before(rule, choice, start, subject=subject, part=part, rolled_back=rolled_back)
        frozen = self._frozen(rule, choice, start, end, subject, part)
        taught = frozen.taught(rule.name, subject)
        if taught is not None:
            return Known(frozen, taught)
        # Nothing was frozen for this rule: learned once for as long as the file stays what it is.
        whom = (rule.name, versionless(subject))
        known = self._learned.get(whom)
        if known is None or known.reference is None or known.reference.blocks is not frozen.blocks:
            known = self._learned[whom] = Known(frozen, rule.learned(frozen, subject))
        return Known(frozen, known.taught)

    def _before(
        self,
        rule: Rule,
        choice: ReferenceChoice,
        start: int,
        *,
        subject: Subject,
        part: Part | None,
        rolled_back: Collection[tuple[str, str]],
    ) -> Known:
        """Give the windows before one; those of short windows move on in steps, since learning from many takes time."""
        back = choice.trailing or 0
        step = step_of(rule, back)
        until = start if step is None else start - (start - self._offset) % step
        whom = versionless(subject)
        bad = frozenset(which for which in rolled_back if which[0] in (subject.model, subject.partner))
        key = (rule.name, whom, until, part, bad)
        kept, most = (self._trailing, _MOST_KNOWN) if rule.keeps == "blocks" else (self._lessons, _MOST_LESSONS)
        found = kept.get(key)
        if found is None:
            trailing = self._sums.trailing(
                until,
                rule.window,
                back,
                rolled_back=bad,
                part=part,
                every=DAY if choice.by else 1,
                subject=subject,
                measures=rule.needs(subject),
            )
            # Without any block there is nothing yet to compare with, which rules say themselves.
            reference = trailing.by_hour(start) if choice.by and trailing.blocks else trailing
            found = Known(reference, rule.learned(reference, subject))
            if rule.keeps == "sum":
                found = found._replace(reference=reference.summed_up(subject))
            elif rule.keeps == "nothing":
                found = found._replace(reference=reference._replace(blocks=()))
            kept[key] = found
            while len(kept) > most:
                kept.popitem(last=False)
        return found

    def _frozen(
        self, rule: Rule, choice: ReferenceChoice, start: int, end: int, subject: Subject, part: Part | None
    ) -> Reference:
        known = [self._named(rule, choice.frozen)] if choice.frozen else [self._of(given) for given in self._given]
        # One reference for each length of window may be given.
        known = [r for r in known if r.block_seconds == rule.window] or known
        frozen = choose(known, start, end, subject)
        if frozen.block_seconds != rule.window:
            raise ReferenceMissingError(
                f"{frozen.name} has blocks of {say_duration(frozen.block_seconds)}, and the rule judges windows of"
                f" {say_duration(rule.window)}: freeze it with `--block {say_duration(rule.window)}`"
            )
        return (frozen.by_hour(start) if choice.by else frozen)._replace(whole=part is None)

    def _named(self, rule: Rule, name: str) -> Reference:
        """Find a reference by its name among those given, or as a file beside the rules."""
        known, unread = [], []
        for given in self._given:
            try:
                found = self._of(given)
            except ReferenceMissingError as error:
                unread.append(str(error))
                continue
            if found.name == name:
                return found
            known.append(found.name)
        path = self._folder / name
        if path.exists():
            return self._of(path)
        told = "; ".join([", ".join(sorted(known)) or "none can be used" if self._given else "none is given", *unread])
        raise ReferenceMissingError(
            f"the rule {rule.name!r} compares with {name!r}, which is no file at {path} and none of the references in"
            f" the settings ({told}): make it with `birdwatch reference freeze --out {path}`"
        )

    def _of(self, given: Path | Reference) -> Reference:
        if isinstance(given, Reference):
            return given
        try:
            stat = given.stat()
            stamp: tuple[int, ...] | None = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            stamp = None
        file = self._files.get(given)
        if file is None or file.stamp != stamp:
            file = self._files[given] = _File(stamp, self._read(given))
        if isinstance(file.found, str):
            raise ReferenceMissingError(file.found)
        return file.found

    def _read(self, path: Path) -> Reference | str:
        try:
            return load(path, self._scale)
        except ReferenceMissingError as error:
            return str(error)


def freeze(
    store: Store,
    since: int,
    until: int,
    block_seconds: int,
    *,
    name: str = "reference",
    scale: Scale = "probability",
    rules: Iterable[Rule] = (),
    lean: bool = False,
) -> dict[str, Any]:
    """Freeze what a store holds of [since, until), by block: the document of a reference (see `frozen.save`).

    What a trailing reference would leave out is left out for good: windows in which a model was found bad, and blocks
    with versions that had been rolled back by ``until``. What ``rules`` learn from it is frozen with it; if ``lean``, beside
    that only what these rules go on to compare with, so that a quarter of a year by the hour is a small file.

    Raises
    ------
    ReferenceMissingError
        The stretch is not a whole number of blocks, or holds nothing, or only sums of more than a block.
    """
    if until <= since or (until - since) % block_seconds or block_seconds % store.pane_seconds:
        raise ReferenceMissingError(
            f"{since} to {until} cannot be cut into blocks of {say_duration(block_seconds)} made of panes of"
            f" {say_duration(store.pane_seconds)}: choose another stretch or block"
        )
    known = [level for level in store.held().levels if math.gcd(since, block_seconds) % level == 0]
    first = min(store.held().kept_from(level) for level in known)
    if since < first:
        raise ReferenceMissingError(
            f"before {say_moment(first)} the store has no sums as short as blocks of {say_duration(block_seconds)}: freeze what"
            " comes after, or longer blocks that begin with whole hours or days (UTC)"
        )
    rolled_back = gone(store.controls(), until).rolled_back
    rules = [rule for rule in rules if rule.compares_with is not None and rule.window == block_seconds]
    found = WindowSums(store, most=1).trailing(
        until, block_seconds, until - since, rolled_back=rolled_back, measures=_needed(store, rules) if lean else None
    )
    document = as_document(found.blocks, name=name, since=since, until=until, block_seconds=block_seconds, scale=scale)
    lessons = learn(from_document(document, name), rules)
    if lean:
        compared = _needed(store, [rule for rule in rules if rule.keeps != "nothing"])
        document = keep_measures(document, compared)
    return with_tolerances(document, lessons)


def _needed(store: Store, rules: Iterable[Rule]) -> set[str] | None:
    """Name the measures that rules read of a reference; None where one reads all."""
    wanted: set[str] = set()
    for rule in rules:
        for subject in (Subject(), *(Subject(feature=feature) for feature in store.features())):
            needs = rule.needs(subject)
            if needs is None:
                return None
            wanted |= set(needs)
    return wanted
