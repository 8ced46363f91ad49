"""Tells operators of messages that were gone before they were read: no rule sees those, and none may pass in silence."""

from typing import Final

from birdwatch.detect.verdict import Finding, Subject
from birdwatch.streams import Gap
from birdwatch.windows.gaps import gaps_since
from birdwatch.windows.store import Store

__all__ = ["LOSSES", "losses"]

LOSSES: Final = "streams"
"""The rule under which they are told."""

_TOLD: Final = "gaps_told"
_NAMED: Final = 3


def losses(store: Store, until: int) -> list[Finding]:
    """Say what was found missing since this was last asked, inside the transaction in which panes close.

    Parameters
    ----------
    until
        Event time up to which panes are closed.

    Returns
    -------
    list of Finding
        None where nothing was ever missing.
    """
    told: int = store.noted(_TOLD, 0)
    fresh = gaps_since(store, told)
    if not fresh:
        clean = "no more messages were gone before they were read"
        return [_finding(until, clean, active=False)] if told else []
    store.note(_TOLD, fresh[-1][0])
    said = [describe(gap) for _, gap in fresh[:_NAMED]]
    more = f"; and {len(fresh) - _NAMED} more" if len(fresh) > _NAMED else ""
    return [_finding(until, f"messages were gone before they were read: {'; '.join(said)}{more}", active=True)]


def describe(gap: Gap) -> str:
    """Say what was missing where.

    Examples
    --------
    >>> from birdwatch.streams import Partition
    >>> describe(Gap(Partition("scores", 2), 100, 150, "trimmed"))
    'scores/2: 50 messages from offset 100 on (trimmed: retention is shorter than the reader was behind)'
    >>> describe(Gap(Partition("scores", 2), 100, 0, "made anew"))
    'scores/2: all from offset 100 on (made anew: read from 0 on)'
    """
    where = f"{gap.partition.stream}/{gap.partition.number}"
    if gap.reason == "trimmed":
        lost = gap.found - gap.wanted
        why = "trimmed: retention is shorter than the reader was behind"
        return f"{where}: {lost} messages from offset {gap.wanted} on ({why})"
    if gap.found <= gap.wanted:
        return f"{where}: all from offset {gap.wanted} on ({gap.reason}: read from {gap.found} on)"
    return f"{where}: offsets {gap.wanted} to {gap.found - 1} ({gap.reason})"


def _finding(until: int, reason: str, *, active: bool) -> Finding:
    return Finding(
        rule=LOSSES,
        subject=Subject(),
        ts=until,
        severity="ticket",
        active=active,
        reason=reason,
        attribution="messages were lost",
    )
