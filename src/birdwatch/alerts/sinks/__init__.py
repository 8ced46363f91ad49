"""Where alerts go, as the settings say; a sink that raises has not taken the alert."""

import os

from birdwatch.alerts.sinks.alertmanager import Alertmanager
from birdwatch.alerts.sinks.apprise import Apprise
from birdwatch.alerts.sinks.log import Log
from birdwatch.alerts.sinks.post import Poster
from birdwatch.alerts.sinks.sink import Pictures, Sink
from birdwatch.alerts.sinks.stream import Stream
from birdwatch.alerts.sinks.webhook import Webhook, read_key
from birdwatch.alerts.wording import Links
from birdwatch.config import AlertmanagerSink, AppriseSink, LogSink, Settings, StreamSink, WebhookSink
from birdwatch.errors import SettingsError
from birdwatch.streams import is_recorded

__all__ = [
    "Alertmanager",
    "Apprise",
    "Log",
    "Pictures",
    "Sink",
    "Stream",
    "Webhook",
    "open_sink",
    "open_sinks",
    "sink_names",
]


def sink_names(settings: Settings) -> tuple[str, ...]:
    """Name the sinks that the settings ask for; recorded streams and archives are only read."""
    short = {
        "webhook": settings.webhook is not None,
        "log": settings.alert_log is not None,
        "stream": not is_recorded(settings.streams),
    }
    return (*(name for name, asked in short.items() if asked), *settings.sinks)


def open_sinks(settings: Settings, pictures: Pictures | None = None) -> dict[str, Sink]:
    """Open the sinks that the settings ask for, by name; with ``pictures``, those that show any are given them.

    Raises
    ------
    SettingsError
        One cannot be opened: its secret is missing or none, or what it needs is not installed.
    """
    return {name: open_sink(settings, name, pictures) for name in sink_names(settings)}


def open_sink(settings: Settings, name: str, pictures: Pictures | None = None) -> Sink:
    """Open one of the sinks.

    Raises
    ------
    SettingsError
        There is none of that name, or it cannot be opened.
    """
    if name not in sink_names(settings):
        raise SettingsError(f"there is no sink {name!r}: there are {', '.join(sink_names(settings)) or 'none'}")
    links = Links(settings.dashboard_url, settings.runbook_url)
    if pictures is not None:
        links = Links(settings.dashboard_url, settings.runbook_url, pictures.address)
    if name in settings.sinks:
        try:
            return _open(settings.sinks[name], name, links, pictures)
        except SettingsError as error:
            raise SettingsError(f"sinks.{name}: {error}") from error
    if name == "webhook" and settings.webhook is not None:
        secret = settings.webhook_secret
        key = None if secret is None else _key(secret.get_secret_value(), "webhook_secret")
        return Webhook(settings.webhook, key=key, links=links)
    if name == "log" and settings.alert_log is not None:
        return Log(settings.alert_log)
    return Stream(settings.streams)


def _open(
    asked: WebhookSink | AlertmanagerSink | AppriseSink | LogSink | StreamSink,
    name: str,
    links: Links,
    pictures: Pictures | None,
) -> Sink:
    match asked:
        case WebhookSink():
            poster = Poster(timeout_seconds=asked.timeout_seconds, allow=asked.allow_hosts)
            return Webhook(asked.url.get_secret_value(), key=_secret(asked), receiver=name, links=links, poster=poster)
        case AlertmanagerSink():
            poster = Poster(timeout_seconds=asked.timeout_seconds, allow=asked.allow_hosts)
            return Alertmanager([url.get_secret_value() for url in asked.urls], links=links, poster=poster)
        case AppriseSink():
            return Apprise(
                [url.get_secret_value() for url in asked.urls],
                links=links,
                pictures=pictures if asked.pictures else None,
                timeout_seconds=asked.timeout_seconds,
            )
        case LogSink():
            return Log(asked.path)
    return Stream(asked.streams)


def _secret(asked: WebhookSink) -> bytes | None:
    if asked.secret is not None:
        return _key(asked.secret.get_secret_value(), "secret")
    if asked.secret_env is None:
        return None
    if asked.secret_env not in os.environ:
        raise SettingsError(f"the environment variable {asked.secret_env}, which secret_env names, is not set")
    return _key(os.environ[asked.secret_env], asked.secret_env)


def _key(secret: str, where: str) -> bytes:
    try:
        return read_key(secret)
    except ValueError as error:
        raise SettingsError(f"{where} {error}") from None
