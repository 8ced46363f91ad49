"""Pictures of what lies behind alerts: who draws them, and what is said where nobody can."""

import logging
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from birdwatch.alerts.pictures import Pictures
from birdwatch.config import AppriseSink, Settings
from birdwatch.errors import BirdwatchError, SettingsError
from birdwatch.windows.store import Store

if TYPE_CHECKING:
    from birdwatch.records import Alert
    from birdwatch.stats.grid import Scale

__all__ = ["can_draw", "draw", "open_pictures", "write_picture"]

_log = logging.getLogger(__name__)

_MISSING: Final = "what draws pictures is not installed: pip install 'birdwatch[pictures]'"


def draw(store: Store, alert: "Alert", *, scale: "Scale") -> bytes | None:
    """Draw what lay behind an alert; see `birdwatch.charts.picture.draw_alert`."""
    from birdwatch.charts.picture import draw_alert  # noqa: PLC0415 - large, and an extra

    return draw_alert(store, alert, scale)


def open_pictures(settings: Settings, *, served: bool) -> Pictures | None:
    """Give the pictures that the settings want alerts to carry; None where none does, or nothing can draw, which is said.

    Parameters
    ----------
    served
        Whether there is a port at which receivers find them.
    """
    url = settings.pictures_url
    if url is not None and not served:
        _log.warning(
            "alerts go without links to pictures: `pictures_url` is set, and nobody serves it: give --health-port"
        )
        url = None
    sent = any(isinstance(sink, AppriseSink) and sink.pictures for sink in settings.sinks.values())
    if url is None and not sent:
        return None
    if not can_draw():
        _log.warning("alerts go without pictures: %s", _MISSING)
        return None
    return Pictures(settings.store, partial(draw, scale=settings.scale), url=url)


def write_picture(settings: Settings, alert: "Alert", file: Path) -> None:
    """Draw what lay behind an alert, and write it to a file.

    Raises
    ------
    BirdwatchError
        There is nothing that could be drawn, or it cannot be written.
    SettingsError
        What draws is not installed.
    """
    if not can_draw():
        raise SettingsError(f"--picture: {_MISSING}")
    kept = Store(settings.store, readonly=True)
    try:
        png = draw(kept, alert, scale=settings.scale)
    finally:
        kept.close()
    if png is None:
        raise BirdwatchError(
            f"--picture: there is nothing to draw of {alert.fingerprint}: nothing was measured that could be drawn, or it"
            " is no longer kept"
        )
    try:
        file.write_bytes(png)
    except OSError as error:
        raise BirdwatchError(f"--picture: {file} cannot be written: {error.strerror}") from error


def can_draw() -> bool:
    """Tell whether what draws is installed."""
    return all(find_spec(name) is not None for name in ("altair", "vl_convert"))
