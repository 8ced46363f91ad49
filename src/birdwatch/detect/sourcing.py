"""Where a rule's reference comes from: the windows before the one it judges, or a frozen file."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from birdwatch.detect.duration import say_duration
from birdwatch.detect.kind import Rule
from birdwatch.detect.reference import Reference, as_document, choose, load
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.service import gone
from birdwatch.detect.sums import Part, WindowSums
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import Scale
from birdwatch.windows.store import Store

__all__ = ["References", "freeze"]


class References:
    """Gives each rule its reference.

    Parameters
    ----------
    sums
        The windows of the store.
    rules
        Those that will ask; the frozen references that they name are read at once.
    given
        Frozen references, used in place of the trailing ones that rules name.

    Raises
    ------
    ReferenceMissingError
        A frozen reference cannot be read, or counts on another scale.
    """

    def __init__(self, sums: WindowSums, rules: RuleSet, given: Sequence[Path | Reference], scale: Scale) -> None:
        self._sums = sums
        self._given = [r if isinstance(r, Reference) else load(r, scale) for r in given]
        self._named: dict[str, Reference] = {r.name: r for r in self._given}
        for rule in rules.rules:
            name = rule.compares_with.frozen if rule.compares_with else None
            if name is not None and name not in self._named:
                path = rules.folder / name
                if not path.exists():
                    known = ", ".join(sorted(self._named)) or "none is given"
                    raise ReferenceMissingError(
                        f"the rule {rule.name!r} compares with {name!r}, which is no file at {path} and none of the"
                        f" references in the settings ({known})"
                    )
                self._named[name] = load(path, scale)

    def of(
        self, rule: Rule, start: int, end: int, *, part: Part | None, rolled_back: Collection[tuple[str, str]]
    ) -> Reference | None:
        """Give the reference with which a rule compares the window [start, end), or the part of it.

        Raises
        ------
        ReferenceMissingError
            The frozen reference overlaps the window, or its blocks have another length.
        """
        choice = rule.compares_with
        if choice is None:
            return None
        if choice.frozen is None and not self._given:
            return self._sums.trailing(start, rule.window, choice.trailing or 0, rolled_back=rolled_back, part=part)
        frozen = choose([self._named[choice.frozen]] if choice.frozen else self._given, start, end)
        if frozen.block_seconds != rule.window:
            raise ReferenceMissingError(
                f"{frozen.name} has blocks of {say_duration(frozen.block_seconds)}, and the rule judges windows of"
                f" {say_duration(rule.window)}: freeze it with `--block {say_duration(rule.window)}`"
            )
        return frozen._replace(whole=part is None)


def freeze(
    store: Store, since: int, until: int, block_seconds: int, *, name: str = "reference", scale: Scale = "probability"
) -> dict[str, Any]:
    """Freeze what a store holds of [since, until), by block: the document of a reference (see `reference.save`).

    What a trailing reference would leave out is left out for good: windows in which a model was found bad, and blocks
    with versions that had been rolled back by ``until``.

    Raises
    ------
    ReferenceMissingError
        The stretch is not a whole number of blocks, or holds nothing.
    """
    if until <= since or (until - since) % block_seconds or block_seconds % store.pane_seconds:
        raise ReferenceMissingError(
            f"{since} to {until} cannot be cut into blocks of {say_duration(block_seconds)} made of panes of"
            f" {say_duration(store.pane_seconds)}: choose another stretch or block"
        )
    rolled_back = gone(store.controls(), until).rolled_back
    found = WindowSums(store, most=1).trailing(until, block_seconds, until - since, rolled_back=rolled_back)
    return as_document(found.blocks, name=name, since=since, until=until, block_seconds=block_seconds, scale=scale)
