"""The stream `alerts`."""

from collections.abc import Sequence

from birdwatch.alerts.sinks.sink import Sink
from birdwatch.records import Alert, encode
from birdwatch.streams import Streams, open_streams

__all__ = ["Stream"]


class Stream(Sink):
    """Appends an alert to the `alerts` stream, with the fingerprint as its key."""

    batch = 100

    def __init__(self, address: str) -> None:
        self.address = address
        self._streams: Streams | None = None

    def send(self, alert: Alert, message_id: str) -> None:
        """Append; the place is opened with the first alert, so that one out of reach is a failed attempt."""
        self.send_all([(alert, message_id)])

    def send_all(self, changes: Sequence[tuple[Alert, str]]) -> None:
        """Append several."""
        if self._streams is None:
            self._streams = open_streams(self.address)
        self._streams.append("alerts", [(alert.fingerprint.encode(), encode(alert)) for alert, _ in changes])

    def close(self) -> None:
        """Close the streams."""
        if self._streams is not None:
            self._streams.close()
