"""Where alerts go: a webhook, a log file, the `alerts` stream. A sink that raises has not taken the alert."""

import os
from pathlib import Path
from typing import Protocol

import httpx

from birdwatch.config import Settings
from birdwatch.errors import DeliveryError
from birdwatch.records import Alert, encode
from birdwatch.streams import Streams, open_streams

__all__ = ["Log", "Sink", "Stream", "Webhook", "open_sinks", "sink_names"]


class Sink(Protocol):
    """Takes alerts. It may be given one twice (delivery is at least once), with the same message id."""

    def send(self, alert: Alert, message_id: str) -> None:
        """Take an alert; whatever is raised says that it was not taken, and it comes again later."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Webhook:
    """Posts an alert as JSON; the header ``webhook-id`` is the same over all attempts.

    Only an answer of 2xx within the timeout takes the alert. Redirects are not followed: they could lead anywhere.

    Parameters
    ----------
    url
        Where to post.
    timeout_seconds
        How long to wait for the connection, and for each part of the answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        self.url = url
        self.timeout_seconds = timeout_seconds
        self._client = httpx.Client(timeout=timeout_seconds, follow_redirects=False)

    def send(self, alert: Alert, message_id: str) -> None:
        """Post an alert.

        Raises
        ------
        DeliveryError
            The receiver could not be reached in time or did not answer 2xx. The message leaves out the address,
            which may hold a secret.
        """
        headers = {"content-type": "application/json", "user-agent": "birdwatch", "webhook-id": message_id}
        try:
            # The body of the answer is never read: a receiver may send as much of it, as slowly, as it likes.
            with self._client.stream("POST", self.url, content=encode(alert), headers=headers) as response:
                status = response.status_code
        except httpx.TimeoutException as error:
            raise DeliveryError(f"no answer within {self.timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeliveryError(f"cannot be reached: {type(error).__name__}") from error
        if not httpx.codes.is_success(status):
            raise DeliveryError(f"answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Log:
    """Appends an alert as one line of JSON, on disk before it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, alert: Alert, message_id: str) -> None:
        """Write a line; one left torn by a crash is ended first, so that it spoils only itself."""
        del message_id  # a reader tells repeated lines by fingerprint, state and ts
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write((b"\n" if torn else b"") + encode(alert) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Nothing is held between alerts, so the file may be rotated at any time."""


class Stream:
    """Appends an alert to the `alerts` stream, with the fingerprint as its key."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._streams: Streams | None = None

    def send(self, alert: Alert, message_id: str) -> None:
        """Append; the place is opened with the first alert, so that one out of reach is a failed attempt."""
        del message_id
        if self._streams is None:
            self._streams = open_streams(self.address)
        self._streams.append("alerts", [(alert.fingerprint.encode(), encode(alert))])

    def close(self) -> None:
        """Close the streams."""
        if self._streams is not None:
            self._streams.close()


def sink_names(settings: Settings) -> tuple[str, ...]:
    """Name the sinks that the settings ask for; recorded streams (``files:``) are only read."""
    wanted = {
        "webhook": settings.webhook is not None,
        "log": settings.alert_log is not None,
        "stream": not settings.streams.startswith("files:"),
    }
    return tuple(name for name, asked in wanted.items() if asked)


def open_sinks(settings: Settings) -> dict[str, Sink]:
    """Open the sinks that the settings ask for, by name."""
    sinks: dict[str, Sink] = {}
    if settings.webhook is not None:
        sinks["webhook"] = Webhook(settings.webhook)
    if settings.alert_log is not None:
        sinks["log"] = Log(settings.alert_log)
    if "stream" in sink_names(settings):
        sinks["stream"] = Stream(settings.streams)
    return sinks
