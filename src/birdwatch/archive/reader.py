"""Reads an archive as tables: which streams, days and rows there are, and their records, typed and without duplicates."""

import itertools
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birdwatch.archive.columns import Fault, Rows, decoder, flat, to_frame, to_table, united
from birdwatch.archive.joining import join_by_day
from birdwatch.archive.narrowing import Moment, Narrowed, as_seconds
from birdwatch.errors import StreamError
from birdwatch.records import RECORDS
from birdwatch.streams.archived import ArchiveStreams
from birdwatch.streams.arrow import MAGIC
from birdwatch.streams.parquet import ArchiveFile, archived, damaged, read_partition

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Records", "UnreadableWarning"]

_DAY_SECONDS: Final = 86_400.0


class UnreadableWarning(UserWarning):
    """Records of an archive could not be read, and are not among those given."""


class Records:
    """The records of an archive, read when they are asked for.

    Parameters
    ----------
    directory
        The archive.

    Raises
    ------
    StreamError
        There is no such folder.

    Attributes
    ----------
    directory
        Where it lies.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).expanduser()
        if not self.directory.is_dir():
            raise StreamError(f"there is no archive at {directory}: give the folder that the streams' folders lie in")
        self._narrowed = Narrowed()
        self._wanted: frozenset[str] | None = None

    def streams(self) -> list[str]:
        """Name the streams that are archived, sorted."""
        return ArchiveStreams(f"archive:{self.directory}").names()

    def days(self, stream: str) -> list[str]:
        """Give the days on which anything of a stream happened, as YYYY-MM-DD."""
        return sorted({file.day for file in self._files(stream)})

    def summary(self) -> "pd.DataFrame":
        """Give what is there: a row for each stream, day and partition.

        ``rows`` counts each offset once, ``files`` and ``bytes`` what lies on the disk, ``damaged`` files that were put
        aside; ``first`` and ``last`` are offsets.
        """
        import pandas as pd  # noqa: PLC0415 - takes most of a second

        found: dict[tuple[str, str, int], list[ArchiveFile]] = {}
        broken: dict[tuple[str, str, int], int] = {}
        for stream in self.streams():
            for file in self._files(stream):
                found.setdefault((stream, file.day, file.held.partition), []).append(file)
            for file in damaged(self.directory / stream, self._narrowed.days()):
                at = (stream, file.day, file.held.partition)
                broken[at] = broken.get(at, 0) + 1
                found.setdefault(at, [])
        return pd.DataFrame(
            [
                {
                    "stream": stream,
                    "day": day,
                    "partition": partition,
                    "rows": _count(files),
                    "files": len(files),
                    "bytes": sum(file.path.stat().st_size for file in files),
                    "first": min((file.held.first for file in files), default=None),
                    "last": max((file.held.last for file in files), default=None),
                    "damaged": broken.get((stream, day, partition), 0),
                }
                for (stream, day, partition), files in sorted(found.items())
            ],
            columns=["stream", "day", "partition", "rows", "files", "bytes", "first", "last", "damaged"],
        )

    def where(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        model: str | Collection[str] | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> Self:
        """Narrow it; nothing is read yet.

        Parameters
        ----------
        since, until
            Event time: ``since <= ts < until``.
        model
            Only what these models said, and decisions for them. Streams that name no model are left alone.
        features
            By name (dots lead into objects) the value that a request must have, or a list of such. Of other streams, what
            belongs to one of these requests; their ids are held in memory for it, some 100 bytes each.
        """
        narrowed = replace(
            self._narrowed,
            since=self._narrowed.since if since is None else as_seconds(since),
            until=self._narrowed.until if until is None else as_seconds(until),
            models=self._narrowed.models if model is None else frozenset([model] if isinstance(model, str) else model),
            features={**self._narrowed.features, **(features or {})},
        )
        made = type(self)(self.directory)
        made._narrowed = narrowed  # noqa: SLF001 - of its own kind
        return made

    def batches(
        self,
        stream: str,
        *,
        columns: Sequence[str] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        model: str | Collection[str] | None = None,
    ) -> "Iterator[pa.Table]":
        """Give the records of a stream as Arrow tables of some thousand rows, by partition and offset.

        Columns are those of `read`. Without ``columns`` a table has those features that its requests have, and their types
        are what these tell: a feature may be a number in one table and words, or missing, in another.

        Raises
        ------
        StreamError
            There is no such stream, or a file of it cannot be read.
        """
        narrowed = self.where(since=since, until=until, model=model)
        for rows in narrowed.rows(stream):
            if rows.faults:
                _warn(stream, len(rows.faults), "in this batch ")
            if rows.records:
                yield to_table(stream, rows, columns)

    def read(
        self,
        stream: str,
        *,
        columns: Sequence[str] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        model: str | Collection[str] | None = None,
    ) -> "pd.DataFrame":
        """Give the records of a stream: a row each, by partition and offset, and each message once.

        There is a column for each field of the record, and ``partition`` and ``offset``. Times are UTC timestamps; what a
        request's features hold are columns ``features.NAME``, and what is nested in them ``features.NAME.INNER``.

        Parameters
        ----------
        columns
            Which, in which order; all by default.
        since, until, model
            As in `where`.

        Returns
        -------
        pandas.DataFrame
            Its ``attrs["unreadable"]`` says how many messages could not be read; there is a warning too, and `unreadable`
            gives them.

        Raises
        ------
        StreamError
            There is no such stream, or a file of it cannot be read.
        """
        narrowed = self.where(since=since, until=until, model=model)
        tables: list[pa.Table] = []
        faults = 0
        for rows in narrowed.rows(stream):
            faults += len(rows.faults)
            if rows.records or not tables:
                tables.append(to_table(stream, rows, columns))
        frame: pd.DataFrame = to_frame(united(tables or [to_table(stream, Rows([], [], [], []), columns)]))
        frame.attrs["unreadable"] = faults
        if faults:
            _warn(stream, faults, "")
        return frame

    def unreadable(self, stream: str) -> "pd.DataFrame":
        """Give the messages of a stream that cannot be read: ``partition``, ``offset``, ``reason``, ``value``."""
        import pandas as pd  # noqa: PLC0415

        faults = [fault for rows in self.rows(stream) for fault in rows.faults]
        return pd.DataFrame(faults, columns=list(Fault._fields))

    def rows(self, stream: str) -> Iterator[Rows]:
        """Give the records of a stream as they are decoded, narrowed as this is."""
        there = self.streams()
        if stream not in there:
            raise StreamError(
                f"there is no stream {stream!r} in {self.directory}: there are {', '.join(there) or 'none'}"
            )
        folder, read = self.directory / stream, decoder(stream)
        wanted = (
            self._ids() if self._narrowed.features and stream != "requests" and _has(stream, "request_id") else None
        )
        for partition in sorted({file.held.partition for file in self._files(stream)}):
            for batch in read_partition(folder, partition, days=self._narrowed.days()):
                narrowed = self._in_time(batch)
                if narrowed.num_rows:
                    yield self._chosen(stream, read(narrowed), wanted)

    def joined(
        self, *, as_of: Moment | None = None, since: Moment | None = None, until: Moment | None = None
    ) -> "pd.DataFrame":
        """Give one row a request, with what was said of it as it was known at a moment.

        - what was asked: ``request_id``, ``request_ts`` and the other fields of the request, ``features.NAME`` among them;
          ``override_by`` of the request is ``override_requested_by``;
        - what was decided: the fields of the Decision, ``ts`` its time, and ``score`` that of the model that answered;
        - what each model said, the canary too: ``score.MODEL``, ``error.MODEL``, ``version.MODEL``, ``score_ts.MODEL``;
        - the truth: the last ``reward`` and the last ``label`` that were known, and ``outcome_ts``, when that came.

        Of what was delivered twice the first counts. What is not known is missing.

        Parameters
        ----------
        as_of
            Nothing with a later ``ts`` is known, neither requests nor truth; by default all there is.
        since, until
            Only requests that were asked from the one time on, and before the other. What belongs to them may be later.

        Returns
        -------
        pandas.DataFrame
            In order of ``request_ts``. Its ``attrs["unmatched"]`` says by stream how many records belong to a request that
            is not there, unless requests were chosen by their features.
        """
        import pandas as pd  # noqa: PLC0415 - takes most of a second

        frames, unmatched = [], Counter[str]()
        for found in self.joined_by_day(as_of=as_of, since=since, until=until):
            frames.append(found)
            unmatched.update(found.attrs.pop("unmatched", {}))
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"request_id": []})
        joined.attrs["unmatched"] = dict(unmatched)
        return joined

    def joined_by_day(
        self, *, as_of: Moment | None = None, since: Moment | None = None, until: Moment | None = None
    ) -> "Iterator[pd.DataFrame]":
        """Give the same as `joined`, a day of requests at a time: so much is in memory, some kilobytes a request.

        All streams are first sorted by the day of their requests, into a temporary folder.
        """
        asked = self.where(since=since, until=until)
        known = np.inf if as_of is None else as_seconds(as_of)
        narrowed = asked._narrowed  # noqa: SLF001 - of its own kind
        low, high = (
            otherwise if moment is None else moment
            for moment, otherwise in ((narrowed.since, -np.inf), (narrowed.until, np.inf))
        )
        beside = type(self)(self.directory).where(
            since=None if narrowed.since is None else low - _DAY_SECONDS,  # clocks may differ
            until=None if as_of is None else float(np.nextafter(known, np.inf)),
            features=narrowed.features,
        )
        of = {"requests": asked, "scores": beside.where(model=narrowed.models), "metrics": beside, "outcomes": beside}
        of["canary"] = of["scores"]
        there = self.streams()
        streams = {stream: one.rows(stream) for stream, one in of.items() if stream in there}
        for frame, unmatched in join_by_day(streams, low, high, known):
            if not narrowed.features:
                frame.attrs["unmatched"] = dict(unmatched)
            yield frame

    def _files(self, stream: str) -> list[ArchiveFile]:
        return archived(self.directory / stream, self._narrowed.days())

    def _in_time(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out what its time alone tells, before it is decoded."""
        since, until = self._narrowed.since, self._narrowed.until
        if since is None and until is None:
            return batch
        ts = batch["ts"].to_numpy(zero_copy_only=False)  # NaN where it says none: then it is looked at
        outside = (ts < (-np.inf if since is None else since)) | (ts >= (np.inf if until is None else until))
        many = pc.starts_with(batch["value"], MAGIC).to_numpy(zero_copy_only=False)
        return batch.filter(pa.array(~outside | many))

    def _chosen(self, stream: str, rows: Rows, wanted: frozenset[str] | None) -> Rows:
        narrowed, keep = self._narrowed, None
        if narrowed.since is not None or narrowed.until is not None:
            low = -np.inf if narrowed.since is None else narrowed.since
            high = np.inf if narrowed.until is None else narrowed.until
            timed = _has(stream, "ts")
            keep = [low <= (record.ts if timed else _time(record, low)) < high for record in rows.records]
        if narrowed.models is not None and _has(stream, "model"):
            keep = _and(keep, [record.model in narrowed.models for record in rows.records])
        if narrowed.features and stream == "requests":
            keep = _and(keep, [narrowed.fits(flat(record.features)) for record in rows.records])
        if wanted is not None:
            keep = _and(keep, [record.request_id in wanted for record in rows.records])
        if keep is None or all(keep):
            return rows
        return rows.take([i for i, kept in enumerate(keep) if kept])

    def _ids(self) -> frozenset[str]:
        """Give the ids of the requests that have the features, whenever they were asked."""
        if self._wanted is None:
            whole = type(self)(self.directory)
            whole._narrowed = Narrowed(features=self._narrowed.features)  # noqa: SLF001 - of its own kind
            self._wanted = frozenset(record.id for rows in whole.rows("requests") for record in rows.records)
        return self._wanted


def _count(files: Sequence[ArchiveFile]) -> int:
    behind = all(a.held.last < b.held.first for a, b in itertools.pairwise(files))
    if behind:
        return sum(pq.read_metadata(file.path).num_rows for file in files)
    offsets = [pq.read_table(file.path, columns=["offset"], partitioning=None)["offset"].to_numpy() for file in files]
    return int(np.unique(np.concatenate(offsets)).size)


def _has(stream: str, name: str) -> bool:
    return stream in RECORDS and name in RECORDS[stream].__struct_fields__


def _time(record: Any, otherwise: float) -> float:
    ts = record.get("ts") if isinstance(record, dict) else getattr(record, "ts", None)
    return float(ts) if isinstance(ts, int | float) else otherwise


def _and(keep: list[bool] | None, more: list[bool]) -> list[bool]:
    return more if keep is None else [a and b for a, b in zip(keep, more, strict=True)]


def _warn(stream: str, count: int, where: str) -> None:
    warnings.warn(
        f"{count:,} messages of {stream} {where}cannot be read and are left out: unreadable({stream!r}) gives them",
        UnreadableWarning,
        stacklevel=3,
    )
