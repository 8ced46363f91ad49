"""What a bandit believes of its arms, as its learner says in snapshots, kept beside the panes: an hour's last word."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from birdwatch.errors import RecordError
from birdwatch.records import Snapshot, decode
from birdwatch.streams import Message
from birdwatch.windows.decode import Fault
from birdwatch.windows.store import Store

__all__ = ["SNAPSHOTS", "put_posteriors", "read_posteriors"]

SNAPSHOTS: Final = "snapshots"

_BANDIT: Final = "bandit"
_HOUR: Final = 3600

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS posteriors (
    start INTEGER NOT NULL, arm TEXT NOT NULL, latest REAL NOT NULL, alpha REAL NOT NULL, beta REAL NOT NULL,
    PRIMARY KEY (start, arm)) WITHOUT ROWID;
"""

# A learner that was started again reads, and says, once more what another has said: the furthest has the word.
_PUT: Final = """
INSERT INTO posteriors VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET latest = excluded.latest, alpha = excluded.alpha, beta = excluded.beta WHERE excluded.latest >= latest
"""

_Parameter = Annotated[float, msgspec.Meta(gt=0)]


class _Believed(msgspec.Struct):
    """What of a learner's state is read here; an older one does not say its arms."""

    latest: float | None
    arms: dict[str, tuple[_Parameter, _Parameter]] = {}


def put_posteriors(store: Store, messages: Iterable[Message]) -> list[Fault]:
    """Keep what a learner believed of each arm, under the hour of event time up to which it had read.

    Snapshots of other components are passed by. Keeping one twice changes nothing.

    Parameters
    ----------
    messages
        Of the stream ``snapshots``.

    Returns
    -------
    list of Fault
        Those that cannot be read.
    """
    faults: list[Fault] = []
    rows: list[tuple[Any, ...]] = []
    for message in messages:
        try:
            snapshot = decode(message.value, Snapshot)
            if snapshot.component != _BANDIT:
                continue
            believed = msgspec.convert(snapshot.state, _Believed)
        except (RecordError, msgspec.ValidationError) as error:
            faults.append(Fault(message, f"not the snapshot of a bandit: {error}"))
            continue
        if believed.latest is not None:
            start = int(believed.latest // _HOUR) * _HOUR
            rows += [(start, arm, believed.latest, *pair) for arm, pair in believed.arms.items()]
    if rows:
        store.connection.execute(_TABLE)
        store.connection.executemany(_PUT, rows)
    return faults


def read_posteriors(store: Store, since: float, until: float) -> list[tuple[int, str, float, float]]:
    """Give ``start, arm, alpha, beta`` by hour of event time, from ``since`` on and before ``until``, in order."""
    if not store.connection.table_exists(None, "posteriors"):
        return []
    asked = "SELECT start, arm, alpha, beta FROM posteriors WHERE start >= ? AND start < ? ORDER BY start, arm"
    found: Any = store.connection.execute(asked, (since, until))
    return [tuple(row) for row in found]
