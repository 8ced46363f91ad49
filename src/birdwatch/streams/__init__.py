"""Where records travel: one interface over SQLite, Kafka and recorded files.

One address names a place: ``sqlite:PATH``, ``kafka://HOST:PORT?librdkafka.property=value``, ``files:DIR``.
"""

from birdwatch.errors import AddressError
from birdwatch.streams.base import (
    Changes,
    Committed,
    Entry,
    Gap,
    Headers,
    Message,
    OnLost,
    Partition,
    Positions,
    Reader,
    Streams,
    Transactions,
)

__all__ = [
    "Changes",
    "Committed",
    "Entry",
    "Gap",
    "Headers",
    "Message",
    "OnLost",
    "Partition",
    "Positions",
    "Reader",
    "Streams",
    "Transactions",
    "open_streams",
]


def open_streams(address: str) -> Streams:
    """Open the place that an address names.

    Raises
    ------
    AddressError
        The address names no place that Birdwatch knows.
    """
    scheme, _, rest = address.partition(":")
    # Each kind is imported only when it is asked for: a reader of SQLite should not wait for librdkafka to load.
    if scheme == "sqlite" and rest:
        from birdwatch.streams.sqlite import SqliteStreams  # noqa: PLC0415

        return SqliteStreams(address)
    if scheme == "kafka" and rest.startswith("//"):
        from birdwatch.streams.kafka import KafkaStreams  # noqa: PLC0415

        return KafkaStreams(address)
    if scheme == "files" and rest:
        from birdwatch.streams.files import FileStreams  # noqa: PLC0415

        return FileStreams(address)
    shown = address.partition("?")[0]  # what follows may hold a password
    raise AddressError(f"{shown!r} names no streams: write sqlite:DIR, kafka://HOST:PORT or files:DIR")
