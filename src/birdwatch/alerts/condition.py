"""What is known of an alert between windows, and what one more window makes of it: a pure function of the two.

An alert that comes and goes says nothing new each time it does. So one that fires for the fourth time within some
twenty windows is *flapping*: it goes on firing until as many windows in a row are clean.
"""

import hashlib
from typing import Final, Literal

import msgspec

from birdwatch.detect.verdict import CLEAN_WINDOWS, FLAP_WINDOWS, Severity, Subject

__all__ = ["FLAPS", "Condition", "decide", "end", "fingerprint"]

FLAPS: Final = 3
"""So many times an alert may fire within a stretch of windows; once more is flapping."""


class Condition(msgspec.Struct, kw_only=True, frozen=True):
    """What is known of one fingerprint between windows.

    Attributes
    ----------
    state
        ``inactive`` before it is seen and after it has resolved; ``pending`` until it was seen often enough.
    started
        Event time of the first active window of this episode.
    streak
        Windows in a row that showed it while it is pending, that were clean while it fires.
    seen
        The last window taken into account: what comes again at or before it changes nothing.
    severity
        How urgent it was when it fired; it resolves as urgently.
    windows
        How many windows were taken into account.
    fires
        At which of these it fired of late.
    flapping
        It fires, and has done so too often of late to resolve as soon as others do.
    """

    state: Literal["inactive", "pending", "firing"] = "inactive"
    started: int = 0
    streak: int = 0
    seen: int | None = None
    severity: Severity = "info"
    windows: int = 0
    fires: tuple[int, ...] = ()
    flapping: bool = False


def fingerprint(rule: str, subject: Subject, attribution: str) -> str:
    """Name an alert for all time: the same rule, subject and cause give the same 16 hex digits.

    >>> fingerprint("disagreement", Subject("challenger", "2", "champion"), "the model changed")
    'd02f88c1e01db82b'
    """
    # The unit separator stands in no name, so ("ab", "c") and ("a", "bc") differ.
    name = f"{rule}\x1f{subject.model}\x1f{subject.version}\x1f{subject.partner}\x1f{attribution}"
    name += f"\x1f{subject.feature}" if subject.feature else ""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def decide(
    before: Condition,
    ts: int,
    *,
    shown: bool,
    severity: Severity = "info",
    for_windows: int = 1,
    keep_firing_for: int = CLEAN_WINDOWS,
    flap_windows: int = FLAP_WINDOWS,
) -> Condition:
    """Say what one more window, ending at ``ts``, makes of a condition.

    Parameters
    ----------
    before
        What was known.
    ts
        Event time; a window already taken into account changes nothing.
    shown
        Whether the window shows it.
    severity
        How urgent it is, if it fires now.
    for_windows
        It fires with the so-manieth active window in a row; a clean one starts that count again.
    keep_firing_for
        It resolves with the so-manieth clean window in a row; an active one starts *that* count again.
    flap_windows
        Firing more than `FLAPS` times within so many windows, it resolves only after as many clean ones; 0: no matter how
        often it fires.

    Examples
    --------
    >>> pending = decide(Condition(), 60, shown=True, for_windows=2)
    >>> (pending.state, pending.started, pending.streak)
    ('pending', 60, 1)
    >>> firing = decide(pending, 120, shown=True, for_windows=2, severity="page")
    >>> (firing.state, firing.started, firing.severity)
    ('firing', 60, 'page')
    """
    if before.seen is not None and ts <= before.seen:
        return before
    now = msgspec.structs.replace(before, seen=ts, windows=before.windows + 1)
    if before.state == "firing":
        clean = 0 if shown else before.streak + 1
        if clean < (max(flap_windows, keep_firing_for) if before.flapping else keep_firing_for):
            return msgspec.structs.replace(now, streak=clean)
        return msgspec.structs.replace(now, state="inactive", streak=0, flapping=False)
    if not shown:
        return msgspec.structs.replace(now, state="inactive", started=0, streak=0)
    active = before.streak + 1 if before.state == "pending" else 1
    started = before.started if before.state == "pending" else ts
    if active < for_windows:
        return msgspec.structs.replace(now, state="pending", started=started, streak=active)
    lately = [window for window in before.fires if now.windows - window < flap_windows]
    return Condition(
        state="firing",
        started=started,
        seen=ts,
        severity=severity,
        windows=now.windows,
        fires=(*lately, now.windows),
        flapping=len(lately) >= FLAPS,
    )


def end(before: Condition, ts: int) -> Condition:
    """Say what is left of a condition once its subject is gone: nothing fires any more, and nothing is pending.

    >>> over = end(Condition(state="firing", started=60, seen=120, severity="page"), 120)
    >>> (over.state, over.severity)
    ('inactive', 'page')
    """
    seen = ts if before.seen is None else max(ts, before.seen)
    return msgspec.structs.replace(before, state="inactive", streak=0, seen=seen, flapping=False)
