"""What happens in the demo: who answers when, what goes wrong, and how the observing side is set up to notice."""

from pathlib import Path
from typing import Any, Final

from birdwatch.demo.flights import DAY_STARTS, start_of
from birdwatch.records import Control

__all__ = [
    "BACKFILL_DAYS",
    "BAD_VERSION",
    "CANARY",
    "CHALLENGER",
    "CHAMPION",
    "DEADLINE_SECONDS",
    "FAULT_FROM",
    "FEATURES",
    "FIRST_DAY",
    "LOAD",
    "PANE_SECONDS",
    "RAMP_FROM",
    "RAMP_PERCENT",
    "SEGMENTS",
    "ramp",
    "register",
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

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
BAD_VERSION: Final = "2"

LOAD: Final = "birdwatch.demo.models:load"
"""What a runner loads; all models read their files alike."""

_FALLBACK_AFTER_SECONDS: Final = 0.4
_RETURN_MARGIN_SECONDS: Final = 0.2
"""A dozen processes and the client share this machine: the way back can take long."""
_LOAD_UTC: Final = "birdwatch.demo.models:load_utc"

FEATURES: Final[dict[str, dict[str, Any]]] = {
    **{name: {"kind": "number"} for name in ("distance", "wind_speed", "precip", "visib")},
    **{name: {"kind": "category"} for name in ("carrier", "origin", "dest")},
}
"""The inputs that are watched: all that the models read, but the schedule, which never stands still."""

SEGMENTS: Final[dict[str, dict[str, Any]]] = {"origin": {"kind": "category"}, "carrier": {"kind": "category"}}
"""The parts of the traffic in which an alarm is looked into."""

FAULT_FROM: Final = start_of("2013-05-14")
"""When the bad version of the challenger comes into service, in shadow."""

RAMP_FROM: Final = FAULT_FROM + 6 * 3600
"""When it is warmed and ramped up: at ten in the morning, by some three hundred flights."""

RAMP_PERCENT: Final = 10


def schedule(base_rate: float) -> dict[str, Any]:
    """Give the rendezvous schedule: the champion at once, later the cheap model too, at the deadline the base rate.

    The challenger is not in it: it serves in shadow until a version of it is ramped up.
    """
    return {
        "version": "1",
        "deadline_seconds": DEADLINE_SECONDS,
        "return_margin_seconds": _RETURN_MARGIN_SECONDS,
        "default": round(base_rate, 4),
        "tiers": [
            {"models": [CHAMPION]},
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
        "champion": CHAMPION,
        "canary": CANARY,
        "features": FEATURES,
        "segments": SEGMENTS,
        "webhook": webhook,
        "alert_log": str(alert_log),
    }


def register(artifact: Path) -> Control:
    """Give the record by which the bad version comes into service."""
    return Control(
        ts=FAULT_FROM,
        action="register",
        author="data science",
        reason="the adapter reads the schedule straight from the reservation system",
        model=CHALLENGER,
        version=BAD_VERSION,
        params={"target": _LOAD_UTC, "artifact": str(artifact)},
    )


def ramp(*, warm: bool) -> Control:
    """Give the record by which it begins to answer; if it is not warm, somebody is in a hurry."""
    return Control(
        ts=RAMP_FROM,
        action="ramp",
        author="data science",
        reason="a tenth of the flights to begin with" if warm else "the release was promised for today",
        model=CHALLENGER,
        version=BAD_VERSION,
        params={"percent": RAMP_PERCENT, "guard": "rollback"} | ({} if warm else {"anyway": True}),
    )
