"""The record on ``panes``: what tails that share the partitions have counted, on its way to the judge.

A user's own streams never have it; it is published like the others so that anybody can read along.
"""

import msgspec

__all__ = ["ExtremeDelta", "LaneGap", "LaneLetters", "LaneSource", "PaneDelta", "SeriesDelta"]


class SeriesDelta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be added to one series of a pane: ``counts[i]`` to bin ``bins[i]``; a correction may be negative.

    The names are those of `birdwatch.windows.pane.Series`.
    """

    measure: str
    bins: list[int]
    counts: list[int]
    model: str = ""
    version: str = ""
    partner: str = ""
    segment: str = ""


class ExtremeDelta(msgspec.Struct, kw_only=True):
    """A request on which a model and its partner disagreed most, in one lane's part of a pane."""

    model: str
    version: str
    partner: str
    request_id: str
    score: float
    partner_score: float


class LaneSource(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far one source of a lane has come: a partition of a stream, or one model in it; and whether it is silent."""

    stream: str
    partition: int
    latest: float
    model: str = ""
    idle: bool = False


class LaneGap(msgspec.Struct, kw_only=True):
    """Messages from ``wanted`` on that were gone before they were read; reading went on at ``found``."""

    stream: str
    partition: int
    wanted: int
    found: int
    reason: str


class LaneLetters(msgspec.Struct, kw_only=True):
    """How many messages of a stream were put to dead letters, and why and where the first of them."""

    stream: str
    kind: str
    n: int
    reason: str
    first: str


class PaneDelta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one lane, partition ``lane`` of all streams, has counted since its last word; what lanes count adds up.

    Attributes
    ----------
    group
        The tails that share the partitions; what other groups count is another count of the same.
    pane_seconds
        The length of their panes.
    start
        The pane that ``series`` is to be added to, by its first second of event time. A large addition comes in several
        messages. Without a start, this says only how far the lane has come.
    extremes
        The largest disagreements of the lane's part of the pane; they replace those that the lane named before.
    rows, late, duplicates
        By stream: how many rows are new in the pane, how many of them came after the lane had closed it, and how many
        more were there twice.
    closed_until
        Event time up to which the lane has told everything, but for what comes late.
    idle
        Whether all its sources are silent, and all that it holds is told: then nobody needs to wait for it.
    sources, gaps
        How far its sources have come, and what was gone before it was read.
    behind
        By stream: how many messages of its partition it has not read yet; empty where it did not ask.
    unreadable
        What of it was put to dead letters since its last word.
    """

    group: str
    pane_seconds: int
    lane: int
    start: int | None = None
    series: list[SeriesDelta] = []
    extremes: list[ExtremeDelta] | None = None
    rows: dict[str, int] = {}
    late: dict[str, int] = {}
    duplicates: dict[str, int] = {}
    closed_until: int | None = None
    idle: bool = False
    sources: list[LaneSource] = []
    gaps: list[LaneGap] = []
    behind: dict[str, int] = {}
    unreadable: list[LaneLetters] = []
