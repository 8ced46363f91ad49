"""References: what was in order, kept by block so that it also shows how much it differs from itself.

A block is the sum of the panes of one window; a reference is a row of them. It trails the window under test in the
same store, or was frozen in a file. It goes by model, not by version: a new version is compared with what its
predecessors did, without those that were rolled back and the windows in which the model itself was found bad.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from birdwatch.detect.duration import Duration
from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import Window, by_model
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import Scale
from birdwatch.windows.pane import Counts, Series, merge, total

__all__ = ["DAY", "MIN_BLOCKS", "Block", "Lesson", "Reference", "ReferenceChoice", "choose"]

DAY: Final = 86_400

MIN_BLOCKS: Final = 8
"""A tolerance is learned from at least so many blocks."""


class ReferenceChoice(BaseModel):
    """What a rule compares with: ``{trailing: 28d}`` or ``{frozen: NAME}``, and of it ``by: hour of day`` if it likes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trailing: Duration | None = Field(default=None, description="The stretch of event time before the window.")
    frozen: str | None = Field(default=None, description="A frozen reference: its name in the settings, or its file.")
    by: Literal["hour of day"] | None = Field(
        default=None, description="Compare only with what began at the same time of the day (UTC): `hour of day`."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "ReferenceChoice":
        if (self.trailing is None) == (self.frozen is None):
            raise ValueError("write either `trailing: 28d` or `frozen: NAME`")
        return self


class Block(NamedTuple):
    """The sum of the panes of one window.

    ``left_out`` names the models that were bad in it, or a rolled-back version of which was at work.
    """

    start: int
    pane: Mapping[Series, Counts]
    left_out: frozenset[str] = frozenset()


class Lesson(NamedTuple):
    """What a frozen reference teaches: to whom of which rule, and at which time of the day (None: at any)."""

    rule: str
    subject: Subject
    at: int | None = None


class Reference(NamedTuple):
    """Blocks in order of time.

    Attributes
    ----------
    name
        What a reason calls it, such as ``the trailing 28d``.
    whole
        Its blocks cover the same hours as the window under test. A frozen one does not where a version was there for a
        part of the window only.
    scale
        How its scores are counted.
    versions
        Of each model in it the versions that were at work; None where that is not known.
    lessons
        The tolerances that were frozen with it. Their subjects have no version, since a reference goes by model.
    at
        Its blocks all begin so many seconds after midnight; None where they do not.
    summed
        Its one block is the sum of so many (see `summed_up`); None where they are as they were.
    """

    name: str
    since: int
    until: int
    block_seconds: int
    blocks: tuple[Block, ...]
    whole: bool = True
    scale: Scale = "probability"
    versions: Mapping[str, frozenset[str]] | None = None
    lessons: Mapping[Lesson, Mapping[str, float]] = MappingProxyType({})
    at: int | None = None
    summed: int | None = None

    @property
    def stretch(self) -> dict[str, str | int]:
        """Say which it is and where it lies in event time, as verdicts keep it for those who draw what was compared."""
        return {"name": self.name, "since": self.since, "until": self.until}

    def measured(self) -> list[tuple[str, str, str]]:
        """Name all that was counted, as (measure, model, partner)."""
        return sorted({(s.measure, s.model, s.partner) for block in self.blocks for s in block.pane if not s.segment})

    def counts(self, measure: str, model: str = "", partner: str = "", segment: str = "") -> list[Counts]:
        """Give a measure's histogram by block, versions added up; blocks without it, or left out, are not given."""
        found = []
        for block in self.blocks:
            if block.left_out and (model in block.left_out or partner in block.left_out):
                continue
            pane: Mapping[Series, Counts] = block.pane
            if isinstance(pane, Window) and not segment:  # of all models of a fleet, each of which asks
                pane = by_model(pane).get(model, {})
            parts = [
                counts
                for series, counts in pane.items()
                if (series.measure, series.model, series.partner, series.segment) == (measure, model, partner, segment)
            ]
            if parts:
                found.append(parts[0] if len(parts) == 1 else total(parts))
        return found

    def summed_up(self, subject: Subject) -> "Reference":
        """Put the sum of its blocks in place of them, but for those in which the subject's model or partner is left out.

        It is a `Window`: many windows are compared with it, and what is asked of it alone is worked out once.

        Examples
        --------
        >>> blocks = tuple(Block(day * DAY, {Series("score", "m"): Counts.of([day])}) for day in range(3))
        >>> march = Reference("march", 0, 3 * DAY, DAY, blocks[:2] + (blocks[2]._replace(left_out=frozenset({"m"})),))
        >>> found = march.summed_up(Subject("m"))
        >>> found.summed, found.counts("score", "m")
        (2, [Counts(bins=array([0, 1]), counts=array([1, 1]))])
        """
        kept = [block for block in self.blocks if not block.left_out & {subject.model, subject.partner}]
        blocks = (Block(kept[0].start, Window(merge(block.pane for block in kept))),) if kept else ()
        return self._replace(blocks=blocks, summed=len(kept))

    def taught(self, rule: str, subject: Subject) -> Mapping[str, float] | None:
        """Give the tolerances of a rule that were frozen with it, or None: then they are learned from the blocks.

        Examples
        --------
        >>> learned = {Lesson("pairs", Subject("challenger", partner="champion")): {"mean": 0.004}}
        >>> march = Reference("march", 0, 86_400, 86_400, (), lessons=learned)
        >>> march.taught("pairs", Subject("challenger", "7", "champion"))
        {'mean': 0.004}
        >>> march.taught("scores", Subject("challenger", "7"))
        """
        return self.lessons.get(Lesson(rule, versionless(subject), self.at))

    def by_hour(self, start: int) -> "Reference":
        """Keep the blocks that begin at the same time of the day as the window that starts here.

        Raises
        ------
        ReferenceMissingError
            There is none.
        """
        at = start % DAY
        blocks = tuple(block for block in self.blocks if block.start % DAY == at)
        if not blocks:
            raise ReferenceMissingError(
                f"{self.name} has no block that begins at {at // 3600:02}:{at // 60 % 60:02} UTC: freeze it with another"
                " `--block`, or leave `by: hour of day` out"
            )
        return self._replace(name=f"{self.name} at this time of the day", blocks=blocks, at=at)

    def saw(self, model: str, version: str) -> bool:
        """Tell whether this version of a model may be in it; no model is the fleet, which is in any."""
        return self.versions is None or not model or version in self.versions.get(model, ())

    def refuse_overlap(self, start: int, end: int, subject: Subject) -> None:
        """See that it was over before the window under test began, or is of another version.

        Raises
        ------
        ReferenceMissingError
            It overlaps the window: a window that is part of its own reference finds itself in order.
        """
        if self.since < end and start < self.until and self.saw(subject.model, subject.version):
            whom = f" and saw {subject.model} {subject.version} itself" if self.versions and subject.model else ""
            raise ReferenceMissingError(
                f"{self.name} overlaps the window it should judge{whom}: freeze a stretch that ends before it"
            )


def versionless(subject: Subject) -> Subject:
    """Give whom a reference knows a subject as."""
    return Subject(**{name: getattr(subject, name) for name in subject.__struct_fields__ if name != "version"})


def choose(references: Sequence[Reference], start: int, end: int, subject: Subject) -> Reference:
    """Take the latest frozen reference that was over when the window began.

    Where there is none, the latest of the same time that saw other versions only.

    Raises
    ------
    ReferenceMissingError
        There is none of these either.
    """
    before = [r for r in references if r.until <= start]
    beside = [r for r in references if r.since < end and start < r.until and not r.saw(subject.model, subject.version)]
    for found in (before, beside):
        if found:
            return max(found, key=lambda r: r.until)
    for reference in references:
        reference.refuse_overlap(start, end, subject)
    known = ", ".join(r.name for r in references) or "none is given"
    raise ReferenceMissingError(f"no frozen reference ends before the window: {known}")
