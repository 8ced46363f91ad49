"""What rules on pairs have found in order of a mean difference: the usual one, and how far it may stray."""

from typing import Any, Final

import msgspec
import pandas as pd

from birdwatch.windows.store import Store

__all__ = ["usual_table"]

_COLUMNS: Final = ("time", "to", "model", "version", "partner", "rule", "usual", "low", "high")


class _Told(msgspec.Struct):
    usual_mean: float | None = None


class _Row(msgspec.Struct):
    end: int
    start: int
    kind: str
    statistic: str
    tolerance: float | None
    details: _Told = msgspec.field(default_factory=_Told)


_decoder: Final = msgspec.json.Decoder(_Row)


def usual_table(store: Store, since: int, until: int, model: str, partner: str) -> pd.DataFrame:
    """Give the mean difference of a pair that was in order, by the verdicts of (since, until] on it.

    Returns
    -------
    DataFrame
        ``time`` and ``to`` (UTC) from the first window to the end of the last one that was judged by the same numbers,
        ``model, version, partner, rule``; ``usual`` is the difference of the reference, and ``low`` to ``high`` is how far it may
        stray. Windows whose verdict spoke of something else than the mean say nothing of it, and interrupt nothing.
    """
    rows: list[tuple[Any, ...]] = []
    if store.connection.table_exists(None, "verdicts"):
        found: Any = store.connection.execute(
            'SELECT rule, version, record FROM verdicts WHERE "end" > ? AND "end" <= ? AND model = ? AND partner = ?'
            ' ORDER BY rule, version, "end"',
            (since, until, model, partner),
        )
        for rule, version, record in found:
            verdict = _decoder.decode(record)
            usual, stray = verdict.details.usual_mean, verdict.tolerance
            if verdict.kind != "paired" or verdict.statistic != "mean" or usual is None or stray is None:
                continue
            same = (model, version, partner, rule, usual, usual - stray, usual + stray)
            # A rule learns anew once a day or a week: between, one stretch says it all.
            start = rows.pop()[0] if rows and rows[-1][2:] == same else verdict.start
            rows.append((start, verdict.end, *same))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    for time in ("time", "to"):
        table[time] = pd.to_datetime(table[time], unit="s", utc=True)
    return table
