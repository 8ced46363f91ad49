"""A verdict is what one rule says of one subject over one window; a finding is what an operator is told of it.

Both are decided by pure functions; here they are defined, and the verdicts kept in the store.
"""

from typing import Any, Final, Literal

import msgspec

from birdwatch.windows.store import Store

__all__ = [
    "CLEAN_WINDOWS",
    "FLAP_WINDOWS",
    "WATCHDOG",
    "Finding",
    "Severity",
    "Status",
    "Subject",
    "Verdict",
    "create_table",
    "forget_verdicts",
    "put_verdicts",
    "read_verdicts",
]

Status = Literal["ok", "drifting", "no data", "error"]
Severity = Literal["page", "ticket", "info"]

CLEAN_WINDOWS: Final = 3
"""How many clean windows in a row resolve an alert, unless its rule says otherwise."""

FLAP_WINDOWS: Final = 20
"""The stretch in which alerts that come and go are counted, unless the rule says otherwise."""

WATCHDOG: Final = "watchdog"
"""The rule under which the dead man's alert is told: no other has this name."""


class Subject(msgspec.Struct, frozen=True, order=True):
    """Whom a verdict is about: a version of a model, and the partner it is compared with (or none); or a watched input."""

    model: str = ""
    version: str = ""
    partner: str = ""
    feature: str = ""


class Verdict(msgspec.Struct, kw_only=True, frozen=True):
    """What one rule says of one subject in the window [start, end) of event time.

    Attributes
    ----------
    statistic, value, tolerance
        What was measured, how much of it, and how much is still in order; None where it could not be measured.
    effect
        By how much the value exceeds the tolerance, in the statistic's unit; 0 when it doesn't.
    evidence, threshold
        Natural logarithm of the evidence against "within tolerance" and of the level A that spends the page budget;
        None for rules that compare with a number.
    n
        How many events were seen.
    alarmed
        With this window the evidence was enough, and has been spent: an alarm that was on already goes on without.
    reason
        One sentence for people.
    details
        Whatever else helps to explain: other distances, percentiles, the largest disagreements.
    """

    rule: str
    kind: str
    start: int
    end: int
    subject: Subject
    status: Status
    reason: str
    statistic: str = ""
    value: float | None = None
    tolerance: float | None = None
    effect: float = 0.0
    evidence: float | None = None
    threshold: float | None = None
    n: int = 0
    alarmed: bool = False
    details: dict[str, Any] = {}


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """What an operator is told after a window: a verdict with its cause (or several verdicts with one cause).

    Attributes
    ----------
    active
        The window shows it; a finding that is not active says that the window is clean.
    over
        What it was about has ended, a version retired, say: nothing more will be seen of it.
    attribution
        The cause in words: ``the model changed``, ``inputs changed`` …, or empty.
    since
        Event time at which what it tells most likely began; None where it tells of this window alone.
    effect
        By how much the value exceeds the tolerance, in the statistic's unit.
    evidence
        Natural logarithm of the evidence, of rules that gather it.
    cost
        How many false alarms were to be expected of this look, at the most: what it took of the budget.
    for_windows, keep_firing_for, flap_windows, runbook
        As its rule says.
    """

    rule: str
    subject: Subject
    ts: int
    severity: Severity
    active: bool
    reason: str
    over: bool = False
    attribution: str = ""
    statistic: str = ""
    value: float | None = None
    tolerance: float | None = None
    n: int = 0
    since: int | None = None
    effect: float = 0.0
    evidence: float | None = None
    cost: float | None = None
    for_windows: int = 1
    keep_firing_for: int = CLEAN_WINDOWS
    flap_windows: int = FLAP_WINDOWS
    runbook: str = ""


_TABLE: Final = """
CREATE TABLE IF NOT EXISTS verdicts (
    rule TEXT NOT NULL, "end" INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL,
    feature TEXT NOT NULL, status TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (rule, "end", model, version, partner, feature)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS verdicts_by_end ON verdicts ("end");
"""

_decoder: Final = msgspec.json.Decoder(Verdict)


def create_table(store: Store) -> None:
    """Make the table of verdicts if it is not there."""
    store.connection.execute(_TABLE)


def put_verdicts(store: Store, verdicts: list[Verdict]) -> None:
    """Keep verdicts. One once given stays: the same rule over the same window and subject is not judged again."""
    store.connection.executemany(
        "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(v.rule, v.end, *msgspec.structs.astuple(v.subject), v.status, msgspec.json.encode(v)) for v in verdicts],
    )


def forget_verdicts(store: Store, before: int, most: int = 2000) -> None:
    """Drop verdicts of windows that ended before an event time, the oldest first, and not more at once than is soon done."""
    store.connection.execute(
        'DELETE FROM verdicts WHERE (rule, "end", model, version, partner, feature) IN ('
        ' SELECT rule, "end", model, version, partner, feature FROM verdicts WHERE "end" < ? ORDER BY "end" LIMIT ?)',
        (before, most),
    )


def read_verdicts(store: Store, since: int, until: int, rule: str | None = None) -> list[Verdict]:
    """Give the verdicts whose window ends in (since, until], by time; none where nothing was judged yet."""
    if not store.connection.table_exists(None, "verdicts"):
        return []
    rows: Any = store.connection.execute(
        'SELECT record FROM verdicts WHERE "end" > ? AND "end" <= ? AND (? IS NULL OR rule = ?)'
        ' ORDER BY "end", rule, model, version, partner, feature',
        (since, until, rule, rule),
    )
    return [_decoder.decode(record) for (record,) in rows]
