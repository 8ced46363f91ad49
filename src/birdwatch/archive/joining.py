"""Joins requests with what was said of them: scores, the decision, and truth, as it was known at a moment.

Everything says when its request was asked (``request_ts``). So each stream is read once and sorted by the day of its
requests, on the disk, and one day after another is joined in memory.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import feather

from birdwatch.archive.columns import Rows, to_frame, to_table, united

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Joined", "join_by_day"]

_DAY_SECONDS: Final = 86_400.0
_ROWS_IN_MEMORY: Final = 200_000
_WANTED: Final[dict[str, list[str] | None]] = {
    "requests": None,
    "scores": ["request_id", "ts", "model", "version", "score", "error", "partition", "offset"],
    "metrics": None,
    "outcomes": ["request_id", "ts", "reward", "label", "partition", "offset"],
}
_WANTED["canary"] = _WANTED["scores"]
_OF_A_MODEL: Final = {"score": "score", "error": "error", "version": "version", "ts": "score_ts"}


class Joined(NamedTuple):
    """One day's requests, one a row, and how many records of other streams belong to a request that is not there."""

    frame: "pd.DataFrame"
    unmatched: Counter[str]


def join_by_day(streams: Mapping[str, Iterable[Rows]], since: float, until: float, as_of: float) -> Iterator[Joined]:
    """Join streams by request id, a day of requests at a time.

    Parameters
    ----------
    streams
        The records of ``requests``, ``scores``, ``canary``, ``metrics`` and ``outcomes``; some may be missing.
    since, until
        Requests that were asked from the one time on, and before the other.
    as_of
        What happened later is not known.
    """
    with tempfile.TemporaryDirectory(prefix="birdwatch-join-") as scratch:
        sorting = _Sorting(Path(scratch))
        for stream, many in streams.items():
            for rows in many:
                sorting.add(stream, rows, since, until, as_of)
        sorting.flush()
        for day in sorting.days:
            yield _join({stream: sorting.read(stream, day) for stream in _WANTED})


class _Sorting:
    """Sorts records by stream and the day of their requests, on the disk."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._waiting: dict[tuple[str, int], list[pa.Table]] = {}
        self._rows = 0
        self._parts: Counter[tuple[str, int]] = Counter()

    @property
    def days(self) -> list[int]:
        return sorted({day for _, day in self._parts})

    def add(self, stream: str, rows: Rows, since: float, until: float, as_of: float) -> None:
        asked = [record.ts if stream == "requests" else record.request_ts for record in rows.records]
        known = [i for i, record in enumerate(rows.records) if record.ts <= as_of and since <= asked[i] < until]
        if not known:
            return
        table = to_table(stream, rows.take(known), _WANTED[stream])
        days = np.floor_divide(np.array([asked[i] for i in known]), _DAY_SECONDS).astype(np.int64)
        for day in np.unique(days).tolist():
            self._waiting.setdefault((stream, day), []).append(table.filter(pa.array(days == day)))
        self._rows += len(known)
        if self._rows >= _ROWS_IN_MEMORY:
            self.flush()

    def flush(self) -> None:
        for at, tables in self._waiting.items():
            feather.write_feather(united(tables), str(self._path(at, self._parts[at])), compression="lz4")
            self._parts[at] += 1
        self._waiting, self._rows = {}, 0

    def read(self, stream: str, day: int) -> "pd.DataFrame":
        at = (stream, day)
        parts = [feather.read_table(str(self._path(at, number)), memory_map=False) for number in range(self._parts[at])]
        found: pd.DataFrame = to_frame(united(parts or [to_table(stream, Rows([], [], [], []), _WANTED[stream])]))
        return found

    def _path(self, at: tuple[str, int], number: int) -> Path:
        return self._scratch / f"{at[0]}-{at[1]}-{number}.feather"


def _join(frames: dict[str, "pd.DataFrame"]) -> Joined:
    import pandas as pd  # noqa: PLC0415 - takes most of a second

    asked = frames["requests"].rename(
        columns={"id": "request_id", "ts": "request_ts", "override_by": "override_requested_by"}
    )
    asked = _first(asked, ["request_id"], "request_ts").drop(columns=["partition", "offset"])
    asked = asked.sort_values(["request_ts", "request_id"], ignore_index=True)
    unmatched: Counter[str] = Counter()
    for stream in ("scores", "canary", "metrics", "outcomes"):
        found = frames[stream]["request_id"].isin(asked["request_id"])
        unmatched[stream] = int((~found).sum())
        frames[stream] = frames[stream][found]

    decided = _first(frames["metrics"], ["request_id"], "ts").drop(columns=["partition", "offset", "request_ts"])
    decided.insert(1, "score", _chosen_scores(decided))
    decided = decided.drop(columns=["deadline_seconds"])
    said = pd.concat([frame for frame in (frames["scores"], frames["canary"]) if len(frame)] or [frames["scores"]])
    said = _first(said, ["request_id", "model"], "ts")
    known = frames["outcomes"].sort_values(["ts", "partition", "offset"]).groupby("request_id", as_index=False)
    truth = known[["reward", "label", "ts"]].last().rename(columns={"ts": "outcome_ts"})

    joined = asked.merge(decided, on="request_id", how="left", validate="1:1")
    joined = joined.merge(truth, on="request_id", how="left", validate="1:1")
    for model, rows in said.groupby("model", sort=True):
        named = {name: f"{column}.{model}" for name, column in _OF_A_MODEL.items()}
        joined = joined.merge(
            rows[["request_id", *named]].rename(columns=named), on="request_id", how="left", validate="1:1"
        )
    return Joined(joined, unmatched)


def _first(frame: "pd.DataFrame", by: list[str], time: str) -> "pd.DataFrame":
    """Keep the first of each, in event time: what comes again is the same, delivered twice, or came too late."""
    return frame.sort_values([time, "partition", "offset"]).drop_duplicates(by).reset_index(drop=True)


def _chosen_scores(decided: "pd.DataFrame") -> list[Any]:
    pairs = zip(decided["scores"], decided["model"], strict=True)
    return [np.nan if not scores or scores.get(model) is None else float(scores[model]) for scores, model in pairs]
