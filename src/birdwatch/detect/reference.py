"""References: what was in order, kept by block so that it also shows how much it differs from itself.

A block is the sum of the panes of one window; a reference is a row of them. It trails the window under test in the
same store, or was frozen in a file. It goes by model, not by version: a new version is compared with what its
predecessors did, without those that were rolled back and the windows in which the model itself was found bad.
"""

import gzip
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from birdwatch.detect.duration import Duration
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import GRID_VERSION, Scale
from birdwatch.windows.pane import Counts, Series, total

__all__ = [
    "MIN_BLOCKS",
    "Block",
    "Reference",
    "ReferenceChoice",
    "as_document",
    "choose",
    "from_document",
    "load",
    "save",
]

MIN_BLOCKS: Final = 8
"""A tolerance is learned from at least so many blocks."""

_FORMAT: Final = 1
_MEASURES: Final = ("counts", "score", "selection", "pair", "difference")


class ReferenceChoice(BaseModel):
    """What a rule compares with: ``{trailing: 28d}`` or ``{frozen: NAME}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trailing: Duration | None = Field(default=None, description="The stretch of event time before the window.")
    frozen: str | None = Field(default=None, description="A frozen reference: its name in the settings, or its file.")

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
    """

    name: str
    since: int
    until: int
    block_seconds: int
    blocks: tuple[Block, ...]
    whole: bool = True
    scale: Scale = "probability"

    def measured(self) -> list[tuple[str, str, str]]:
        """Name all that was counted, as (measure, model, partner)."""
        return sorted({(s.measure, s.model, s.partner) for block in self.blocks for s in block.pane if not s.segment})

    def counts(self, measure: str, model: str = "", partner: str = "") -> list[Counts]:
        """Give a measure's histogram by block, versions added up; blocks without it, or left out, are not given."""
        found = []
        for block in self.blocks:
            if block.left_out and (model in block.left_out or partner in block.left_out):
                continue
            parts = [
                counts
                for series, counts in block.pane.items()
                if (series.measure, series.model, series.partner) == (measure, model, partner) and not series.segment
            ]
            if parts:
                found.append(total(parts))
        return found

    def refuse_overlap(self, start: int, end: int) -> None:
        """See that it was over before the window under test began.

        Raises
        ------
        ReferenceMissingError
            It overlaps the window: a window that is part of its own reference finds itself in order.
        """
        if self.since < end and start < self.until:
            raise ReferenceMissingError(
                f"{self.name} overlaps the window it should judge: freeze a stretch that ends before it"
            )


def choose(references: Sequence[Reference], start: int, end: int) -> Reference:
    """Take the latest frozen reference that was over when the window began.

    Raises
    ------
    ReferenceMissingError
        There is none.
    """
    before = [r for r in references if r.until <= start]
    if before:
        return max(before, key=lambda r: r.until)
    for reference in references:
        reference.refuse_overlap(start, end)
    raise ReferenceMissingError(
        "no frozen reference ends before the window: " + ", ".join(r.name for r in references) or "none is given"
    )


def as_document(
    blocks: Collection[Block], *, name: str, since: int, until: int, block_seconds: int, scale: Scale
) -> dict[str, Any]:
    """Give a frozen reference as the JSON that is kept: versions added up, what was left out left out for good.

    Raises
    ------
    ReferenceMissingError
        There is nothing in it.
    """
    reference = Reference(name, since, until, block_seconds, tuple(blocks))
    wanted = [which for which in reference.measured() if which[0] in _MEASURES]
    written = []
    for block in blocks:
        alone = reference._replace(blocks=(block,))
        series = [
            [*which, counts.bins.tolist(), counts.counts.tolist()]
            for which in wanted
            for counts in alone.counts(*which)
        ]
        if series:
            written.append({"start": block.start, "series": series})
    if not written:
        raise ReferenceMissingError(f"nothing was counted between {since} and {until}: there is nothing to freeze")
    events = {
        model: sum(int(c.counts.sum()) for c in reference.counts("score", model))
        for measure, model, _ in wanted
        if measure == "score"
    }
    body = {
        "birdwatch_reference": _FORMAT,
        "name": name,
        "grid": GRID_VERSION,
        "scale": scale,
        "since": since,
        "until": until,
        "block_seconds": block_seconds,
        "events": events,
        "blocks": written,
    }
    return {**body, "sha256": _hash(body)}


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def from_document(document: Any, place: str, scale: Scale | None = None) -> Reference:
    """Read a frozen reference.

    Raises
    ------
    ReferenceMissingError
        It is none, was changed since it was frozen, or counts on another grid or scale.
    """
    if not isinstance(document, dict) or document.get("birdwatch_reference") != _FORMAT:
        raise ReferenceMissingError(f"{place} is no frozen reference: make one with `birdwatch reference freeze`")
    body = {key: value for key, value in document.items() if key != "sha256"}
    if _hash(body) != document.get("sha256"):
        raise ReferenceMissingError(f"{place} was changed since it was frozen: freeze it again")
    if body["grid"] != GRID_VERSION or scale not in (None, body["scale"]):
        raise ReferenceMissingError(
            f"{place} counts on grid {body['grid']} and scale {body['scale']!r}, not on {GRID_VERSION} and {scale!r}:"
            " freeze it again"
        )
    blocks = tuple(
        Block(
            block["start"],
            {
                Series(measure, model, "", partner): Counts(np.asarray(bins, np.int64), np.asarray(counts, np.int64))
                for measure, model, partner, bins, counts in block["series"]
            },
        )
        for block in body["blocks"]
    )
    return Reference(body["name"], body["since"], body["until"], body["block_seconds"], blocks, scale=body["scale"])


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write a frozen reference; a name that ends in ``.gz`` compresses it, to the same bytes every time."""
    raw = json.dumps(document, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)


def load(path: Path, scale: Scale | None = None) -> Reference:
    """Read a frozen reference from its file.

    Raises
    ------
    ReferenceMissingError
        The file cannot be read, or see `from_document`.
    """
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise ReferenceMissingError(f"{path} cannot be read as a reference: {error}") from error
    return from_document(document, str(path), scale)
