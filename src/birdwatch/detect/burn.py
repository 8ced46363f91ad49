"""How fast latency objectives burn what they allow.

"p99 under 200 ms" allows 1 % to take longer. The burn rate is the share that did over the share that may: at 1 all that is
allowed is spent, no more (Site Reliability Workbook, Google 2018, chapter 5).
"""

from typing import Any, Final, NamedTuple

import msgspec
import pandas as pd

from birdwatch.detect.verdict import Verdict
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, slower_table

__all__ = ["Objective", "burn_table", "objectives"]

_COLUMNS: Final = ["time", "rule", "model", "version", "n", "slower", "allowed", "burn"]

_LAST: Final = """
SELECT record FROM verdicts WHERE rule = ? AND "end" > ? AND "end" <= ? ORDER BY "end" DESC LIMIT ?
"""

_LOOKED_AT: Final = 100
"""So many verdicts of a rule are looked through for one that measured something, and so knows the objective."""


class Objective(NamedTuple):
    """What a rule demands: of all ``stage`` latencies at most ``1 - percentile`` are longer than ``seconds``."""

    rule: str
    stage: str
    percentile: float
    seconds: float

    @property
    def allowed(self) -> float:
        """The share that may take longer."""
        return round(1 - self.percentile, 12)


def objectives(store: Store, since: int, until: int) -> list[Objective]:
    """Give the objectives that rules on latency last judged by in (since, until]: a past time is held to its own."""
    if not store.connection.table_exists(None, "verdicts"):
        return []
    rules: Any = store.connection.execute(
        'SELECT DISTINCT rule FROM verdicts WHERE "end" > ? AND "end" <= ? ORDER BY rule', (since, until)
    ).fetchall()
    return [one for (rule,) in rules if (one := _objective(store, rule, since, until)) is not None]


def _objective(store: Store, rule: str, since: int, until: int) -> Objective | None:
    found: Any = store.connection.execute(_LAST, (rule, since, until, _LOOKED_AT))
    for (record,) in found:
        verdict = msgspec.json.decode(record, type=Verdict)
        if verdict.kind != "latency":
            return None
        percentile = verdict.details.get("percentile")
        if percentile is not None and verdict.tolerance is not None:
            return Objective(rule, verdict.details["stage"], percentile, verdict.tolerance)
    return None


def burn_table(store: Store, span: Span, held_to: list[Objective]) -> pd.DataFrame:
    """Give how fast each version burns what each objective allows.

    Parameters
    ----------
    held_to
        From `objectives`.

    Returns
    -------
    DataFrame
        ``time, rule, model, version``; of ``n`` requests ``slower`` took longer than the objective, a share of ``allowed``
        may, and ``burn`` is the one share over the other. Steps without a request are left out.
    """
    parts = [
        slower_table(store, span, f"latency.{one.stage}", one.seconds).assign(rule=one.rule, allowed=one.allowed)
        for one in held_to
    ]
    if not parts:
        return pd.DataFrame(columns=_COLUMNS)
    table = pd.concat(parts, ignore_index=True)
    table = table[table["n"] > 0]
    return table.assign(burn=table["slower"] / table["n"] / table["allowed"])[_COLUMNS].reset_index(drop=True)
