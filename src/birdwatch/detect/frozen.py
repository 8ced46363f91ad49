"""A frozen reference as a document: JSON that people can review, with its size, period, grid, versions and hash.

Versions are added up, as rules compare with models; which versions they were is told beside. What was left out is left
out for good. The tolerances that rules learned from it are frozen with it, so that it teaches the same number when the
way of learning changes.
"""

import gzip
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from birdwatch.detect.kind import Rule
from birdwatch.detect.reference import DAY, Block, Lesson, Reference
from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import Window
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import GRID_VERSION, Scale
from birdwatch.windows.pane import Counts, Series, merge, total

__all__ = ["as_document", "from_document", "learn", "load", "read", "retire", "save", "with_tolerances"]

_FORMAT: Final = 2
_READABLE: Final = (1, 2)
_SCORED: Final = ("score", "pair", "difference")


def as_document(
    blocks: Collection[Block], *, name: str, since: int, until: int, block_seconds: int, scale: Scale
) -> dict[str, Any]:
    """Give a frozen reference as the JSON that is kept.

    Raises
    ------
    ReferenceMissingError
        There is nothing in it.
    """
    written = []
    versions: dict[str, set[str]] = {}
    events: dict[str, int] = {}
    for block in blocks:
        summed: dict[tuple[str, str, str, str], list[Counts]] = {}
        for series, counts in block.pane.items():
            measure, model, version, partner, segment = series
            if {model, partner} & block.left_out:
                continue
            summed.setdefault((measure, model, partner, segment), []).append(counts)
            if measure in _SCORED:
                versions.setdefault(model, set()).add(version)
            if measure == "score" and not segment:
                events[model] = events.get(model, 0) + int(counts.counts.sum())
        if summed:
            rows = [[*which, *_plain(total(parts))] for which, parts in sorted(summed.items())]
            written.append({"start": block.start, "series": rows})
    if not written:
        raise ReferenceMissingError(f"nothing was counted between {since} and {until}: there is nothing to freeze")
    body = {
        "birdwatch_reference": _FORMAT,
        "name": name,
        "grid": GRID_VERSION,
        "scale": scale,
        "since": since,
        "until": until,
        "block_seconds": block_seconds,
        "events": dict(sorted(events.items())),
        "versions": {model: sorted(found) for model, found in sorted(versions.items())},
        "tolerances": [],
        "blocks": written,
    }
    return _sealed(body)


def learn(reference: Reference, rules: Iterable[Rule]) -> dict[Lesson, Mapping[str, float]]:
    """Let each rule that could judge by a reference learn from it what is still in order, for everyone in it.

    A rule whose window is not the reference's block cannot use it, and learns nothing.
    """
    subjects = merge([block.pane for block in reference.blocks])
    found: dict[Lesson, Mapping[str, float]] = {}
    for rule in rules:
        if rule.compares_with is None or rule.window != reference.block_seconds:
            continue
        times = {block.start % DAY for block in reference.blocks} if rule.compares_with.by else ()
        for part in [reference.by_hour(at) for at in sorted(times)] or [reference]:
            for subject in rule.subjects(subjects, ()):
                learned = rule.learned(part, subject)
                if learned:
                    found[Lesson(rule.name, subject, part.at)] = learned
    return found


def with_tolerances(document: Mapping[str, Any], lessons: Mapping[Lesson, Mapping[str, float]]) -> dict[str, Any]:
    """Freeze what rules learned from a reference with it."""
    rows = [
        {"rule": lesson.rule, **_said(lesson.subject), "at": lesson.at, "learned": dict(learned)}
        for lesson, learned in lessons.items()
    ]
    kept = [{key: value for key, value in row.items() if value not in ("", None)} for row in rows]
    return _sealed({**document, "tolerances": kept})


def keep_measures(document: Mapping[str, Any], measures: Collection[str] | None) -> dict[str, Any]:
    """Leave out of a document what was counted of other measures (None keeps all), and blocks of which nothing is left."""
    if measures is None:
        return dict(document)
    lean = [{**block, "series": [row for row in block["series"] if row[0] in measures]} for block in document["blocks"]]
    return _sealed({**document, "blocks": [block for block in lean if block["series"]]})


def retire(document: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Take a frozen reference out of use: rules that still compare with it say so, and why."""
    return _sealed({**document, "retired": reason})


def from_document(document: Any, place: str, scale: Scale | None = None) -> Reference:
    """Read a frozen reference; one of an older format knows neither its versions nor any tolerance.

    Raises
    ------
    ReferenceMissingError
        It is none, was changed since it was frozen, was retired, or counts on another grid or scale.
    """
    if not isinstance(document, dict) or "birdwatch_reference" not in document:
        raise ReferenceMissingError(f"{place} is no frozen reference: make one with `birdwatch reference freeze`")
    if document["birdwatch_reference"] not in _READABLE:
        raise ReferenceMissingError(
            f"{place} is of format {document['birdwatch_reference']}, and this program reads up to {_FORMAT}: freeze it again"
        )
    if _sealed(document) != document:
        raise ReferenceMissingError(f"{place} was changed since it was frozen: freeze it again")
    if document.get("retired"):
        raise ReferenceMissingError(f"{place} was retired ({document['retired']}): freeze another, and name that")
    if document["grid"] != GRID_VERSION or scale not in (None, document["scale"]):
        raise ReferenceMissingError(
            f"{place} counts on grid {document['grid']} and scale {document['scale']!r}, not on {GRID_VERSION} and"
            f" {scale!r}: freeze it again"
        )
    versions = document.get("versions")
    return Reference(
        document["name"],
        document["since"],
        document["until"],
        document["block_seconds"],
        tuple(Block(block["start"], Window(dict(map(_counted, block["series"])))) for block in document["blocks"]),
        scale=document["scale"],
        versions=None if versions is None else {model: frozenset(found) for model, found in versions.items()},
        lessons={
            Lesson(row["rule"], _subject(row), row.get("at")): row["learned"] for row in document.get("tolerances", [])
        },
    )


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write a frozen reference; a name that ends in ``.gz`` compresses it, to the same bytes every time."""
    head = {key: value for key, value in document.items() if key not in ("blocks", "tolerances")}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key in ("tolerances", "blocks"):
        rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in document.get(key, []))
        lines.append(f'"{key}": [\n  {rows}\n]')
    raw = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A tail that uses it may read at any moment: it sees the old file or the new one, never a part.
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
    part.replace(path)


def read(path: Path) -> Any:
    """Read the JSON of a frozen reference, whatever it says.

    Raises
    ------
    ReferenceMissingError
        The file cannot be read.
    """
    try:
        raw = path.read_bytes()
        return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise ReferenceMissingError(
            f"{path} cannot be read as a reference: {error}; make it with `birdwatch reference freeze --out {path}`"
        ) from error


def load(path: Path, scale: Scale | None = None) -> Reference:
    """Read a frozen reference from its file.

    Raises
    ------
    ReferenceMissingError
        The file cannot be read, or see `from_document`.
    """
    return from_document(read(path), str(path), scale)


def _sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in document.items() if key != "sha256"}
    plain = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return {**body, "sha256": hashlib.sha256(plain).hexdigest()}


def _plain(counts: Counts) -> list[list[int]]:
    return [counts.bins.tolist(), counts.counts.tolist()]


def _counted(row: list[Any]) -> tuple[Series, Counts]:
    measure, model, partner, *segment, bins, counts = row  # format 1 had no segments
    series = Series(measure, model, "", partner, *segment)
    return series, Counts(np.asarray(bins, np.int64), np.asarray(counts, np.int64))


def _said(subject: Subject) -> dict[str, str]:
    return msgspec.structs.asdict(subject)


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject(**{name: row[name] for name in Subject.__struct_fields__ if name in row})
