"""The panes of messages that Spark reads: from Parquet as an archive lies, or from Kafka by its offsets."""

import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sql
from pyspark.sql.pandas.types import from_arrow_schema

from birdwatch.archive.reader import UnreadableWarning
from birdwatch.config import Settings
from birdwatch.deltas import LaneLetters
from birdwatch.errors import RecordError, StoreError
from birdwatch.records import Control, decode
from birdwatch.spark.parts import COUNTED, MESSAGES, PLACED, WHOLE, Parts
from birdwatch.streams import Partition
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.pane import Counts, Pane, Series
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import COUNTED_BY, Extreme, Store
from birdwatch.windows.unreadable import put_unreadable

__all__ = ["Panes", "panes"]

_BY: Final = "spark"

_NO_SECRETS: Final[dict[str, Any]] = {"streams": "", "webhook": None, "webhook_secret": None, "sinks": {}}
"""Settings travel to every machine; those that may hold a secret are not needed there."""

_Place = tuple[Partition, int]
"""Where a message lies: its partition, and its offset there."""


def panes(messages: Mapping[str, DataFrame], settings: Settings | None = None, *, parts: int = 1) -> "Panes":
    """Count messages into panes; but for what operators did, which is read at once, nothing is read yet.

    They are those of ``birdwatch.open_archive(…).panes(settings)``, bit for bit, but for what came later than
    ``lateness_seconds`` allows: here all is there at once, and nothing is late.

    Parameters
    ----------
    messages
        By stream (by topic, where the settings map one): a DataFrame with the columns ``partition``, ``offset``, ``key``
        and ``value``, as ``spark.read.parquet("archive/scores")`` and ``spark.read.format("kafka")`` give it. Streams that
        are not there count as empty.
    settings
        As for the tail: length of a pane, mappings, watched features, segments. The defaults by default, not those of the
        working directory's ``birdwatch.yaml``.
    parts
        Into how many parts each pane is split by request, where single panes are large: a part is in the memory of one
        machine as it is counted.

    Raises
    ------
    SettingsError
        A mapping cannot be used.
    ValueError
        There are no messages, those of a stream that is not counted, or a DataFrame without the columns.

    Examples
    --------
    ::

        archived = {name: session.read.parquet(f"archive/{name}") for name in ("requests", "scores", "control")}
        panes = birdwatch.spark.panes(archived, load_settings(Path("birdwatch.yaml")))
        panes.series.write.parquet("panes")
    """
    settings = (settings or Settings()).model_copy(update=_NO_SECRETS)
    counting = Counting(settings, now=time.time)
    if parts < 1:
        raise ValueError(f"a pane has at least one part, not {parts}")
    if not messages:
        raise ValueError("there are no messages: give a DataFrame by stream")
    for topic, found in messages.items():
        if topic not in counting.topics:
            raise ValueError(
                f"{topic!r} is not counted: leave it out, or map a stream to it; {', '.join(counting.topics)} are"
            )
        missing = sorted(set(MESSAGES.names) - {"topic", *found.columns})
        if missing:
            raise ValueError(
                f"the DataFrame of {topic!r} lacks {', '.join(missing)}: give messages as an archive or Kafka has them"
            )
    control = counting.topic_of(CONTROL)
    controls = _controls_of(control, messages[control]) if control in messages else {}
    work = Parts(settings, time.time(), tuple(controls.values()), parts)
    schema = from_arrow_schema(MESSAGES)
    read = [found.withColumn("topic", sql.lit(topic)).to(schema) for topic, found in messages.items()]
    placed = reduce(DataFrame.unionAll, read).mapInArrow(work.place, from_arrow_schema(PLACED))
    # Spark counts the arguments of a function, and takes a method's `self` for one that it must give.
    counted = placed.groupBy("start", "part").applyInArrow(lambda rows: work.count(rows), from_arrow_schema(COUNTED))  # noqa: PLW0108
    whole = counted.groupBy("start").applyInArrow(lambda rows: work.add_up(rows), from_arrow_schema(WHOLE))  # noqa: PLW0108
    return Panes(settings, controls, placed, whole)


class Panes:
    """Panes that Spark counts when they are asked for; each of the following counts all of them.

    Attributes
    ----------
    series
        A DataFrame with a row for each series of each pane: ``start`` (Unix seconds), ``measure``, ``model``, ``version``,
        ``partner``, ``segment`` as in `birdwatch.windows.pane.Series`, and ``bins`` and ``counts``.
    unreadable
        A DataFrame of what could not be read, and is in no pane: ``topic``, ``partition``, ``offset``, ``key``, ``value``,
        ``kind`` and ``reason``.
    """

    def __init__(
        self, settings: Settings, controls: Mapping[_Place, Control], placed: DataFrame, whole: DataFrame
    ) -> None:
        self._settings = settings
        self._controls = controls
        self._whole = whole
        self.series = whole.where("start IS NOT NULL").selectExpr("start", "inline(series)")
        wrong = placed.where("reason IS NOT NULL").dropDuplicates(["topic", "partition", "offset", "reason"])
        self.unreadable = wrong.drop("start", "part")

    def collect(self) -> dict[int, Pane]:
        """Give the panes by their starts, all in memory; warn of what could not be read."""
        found: dict[int, Pane] = {}
        for row in self._whole.toLocalIterator():
            if row.start is not None:
                found[row.start] = _pane_of(row)
            for letters in _letters_of(row):
                said = f"{letters.n:,} messages of {letters.stream} are left out: {letters.first}, {letters.reason}"
                warnings.warn(said, UnreadableWarning, stacklevel=2)
        return {start: found[start] for start in sorted(found)}

    def store(self, path: str | Path) -> Store:
        """Write the panes into a new store, for all that reads stores; give it open.

        Their largest disagreements, duplicates, dead letters and the control records are in it as well. A tail does not go
        on with it: it would count everything again.

        Raises
        ------
        StoreError
            There are panes in it already.
        """
        store = Store(path, pane_seconds=self._settings.pane_seconds)
        if store.closed_range() is not None:
            raise StoreError(f"{store.path} holds panes already: name a new file")
        try:
            with store.transaction():  # where a machine fails, nothing is in it
                self._write(store)
        except BaseException:
            store.close()
            raise
        return store

    def _write(self, store: Store) -> None:
        store.note(COUNTED_BY, _BY)
        for (at, offset), control in self._controls.items():
            store.put_control(at, offset, control)
        unreadable: list[LaneLetters] = []
        for row in self._whole.toLocalIterator():
            unreadable += _letters_of(row)
            if row.start is not None:
                store.put(row.start, _pane_of(row))
                store.put_extremes(row.start, [Extreme(**each.asDict()) for each in row.extremes])
                store.put_duplicates(row.start, row.duplicates)
        _, until = store.closed_range() or (0, 0)
        put_unreadable(store, until - store.pane_seconds, unreadable)
        while store.age(until, Keep.asked(self._settings), open_from=until):
            pass


def _controls_of(topic: str, messages: DataFrame) -> dict[_Place, Control]:
    """Read what operators did, in order of event time; what cannot be read is found again by whoever counts."""
    found: dict[_Place, Control] = {}
    for row in messages.select("partition", "offset", "value").toLocalIterator():
        with suppress(RecordError):
            found[Partition(topic, row.partition), row.offset] = decode(bytes(row.value or b""), Control)
    return dict(sorted(found.items(), key=lambda item: (item[1].ts, item[0])))


def _pane_of(row: Row) -> Pane:
    return {
        Series(*each[:5]): Counts(np.array(each.bins, dtype=np.int64), np.array(each.counts, dtype=np.int64))
        for each in row.series
    }


def _letters_of(row: Row) -> list[LaneLetters]:
    return [LaneLetters(**each.asDict()) for each in row.unreadable]
