"""What happens in the demo: who answers when, what goes wrong, and how the observing side is set up to notice."""

from pathlib import Path
from typing import Any, Final

from birdwatch.demo.flights import DAY_STARTS, start_of
from birdwatch.records import Control

__all__ = [
    "BACKFILL_DAYS",
    "CANARY",
    "DEADLINE_SECONDS",
    "FIRST_DAY",
    "LOAD",
    "PANE_SECONDS",
    "controls",
    "schedule",
    "settings",
]

FIRST_DAY: Final = "2013-04-01"
"""The first day that the models have not seen."""

BACKFILL_DAYS: Final = 31
"""How many days before the first are scored in advance: the four weeks that rules look back, and a little."""

PANE_SECONDS: Final = 3600
"""Traffic is thin, some fifty flights an hour: a minute would tell nothing."""

DEADLINE_SECONDS: Final = 1.0

CANARY: Final = "canary"
"""The model that stays as it is, and never answers."""

LOAD: Final = "birdwatch.demo.models:load"
"""What a runner loads; all models read their files alike."""

_FALLBACK_AFTER_SECONDS: Final = 0.4
_RETURN_MARGIN_SECONDS: Final = 0.2
"""A dozen processes and the client share this machine: the way back can take long."""
_LOAD_UTC: Final = "birdwatch.demo.models:load_utc"
_FAULT_FROM: Final = start_of("2013-05-14")
_FAULT_UNTIL: Final = _FAULT_FROM + 32 * 3600


def schedule(base_rate: float) -> dict[str, Any]:
    """Give the rendezvous schedule: the champion at once, later the cheap model too, at the deadline the base rate.

    The challenger is not in it: it serves in shadow, and its scores are seen by the observing side alone.
    """
    return {
        "version": "1",
        "deadline_seconds": DEADLINE_SECONDS,
        "return_margin_seconds": _RETURN_MARGIN_SECONDS,
        "default": round(base_rate, 4),
        "tiers": [
            {"models": ["champion"]},
            {"models": ["fallback"], "after_seconds": _FALLBACK_AFTER_SECONDS},
        ],
        "canary": [CANARY],
    }


def settings(streams: str, store: Path, *, judge_from: float, webhook: str, alert_log: Path) -> dict[str, Any]:
    """Give the settings of the observing side.

    A day's window begins when New York sleeps. What lies before the first request is only reference.
    """
    return {
        "streams": streams,
        "store": str(store),
        "pane_seconds": PANE_SECONDS,
        "windows_start_seconds": int(DAY_STARTS.total_seconds()),
        "judge_from": judge_from,
        "champion": "champion",
        "canary": CANARY,
        "webhook": webhook,
        "alert_log": str(alert_log),
    }


def controls(artifact: Path, since: float, until: float) -> list[Control]:
    """Give what operators do in [since, until): a bad version of the challenger, and its rollback a day later.

    Nothing is done when the version would come into force outside.
    """
    staged = [
        Control(
            ts=_FAULT_FROM,
            action="register",
            author="data science",
            reason="the adapter reads the schedule straight from the reservation system",
            model="challenger",
            version="2",
            params={"target": _LOAD_UTC, "artifact": str(artifact)},
        ),
        Control(
            ts=_FAULT_UNTIL,
            action="rollback",
            author="operations",
            reason="version 2 reads the schedule in UTC",
            model="challenger",
            version="2",
            params={"to": "1"},
        ),
    ]
    return [control for control in staged if control.ts < until] if since <= _FAULT_FROM else []
