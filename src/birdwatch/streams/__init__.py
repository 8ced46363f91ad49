"""Where records travel: one interface over SQLite, Kafka, recorded files and archives.

One address names a place: ``sqlite:PATH``, ``kafka://HOST:PORT?librdkafka.property=value``, ``files:DIR``, ``archive:DIR``.
"""

from pathlib import Path

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
    "is_recorded",
    "open_recorded",
    "open_streams",
]

_RECORDED = ("files:", "archive:")


def is_recorded(address: str) -> bool:
    """Tell whether an address names streams that were kept: they are only read, and end.

    >>> is_recorded("archive:/data"), is_recorded("sqlite:/data")
    (True, False)
    """
    return address.startswith(_RECORDED)


def open_recorded(folder: Path) -> Streams:
    """Open the folder of an archive, or one of recorded files."""
    from birdwatch.streams.archived import is_archive  # noqa: PLC0415

    return open_streams(f"{'archive' if is_archive(folder) else 'files'}:{folder}")


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
    if scheme == "archive" and rest:
        from birdwatch.streams.archived import ArchiveStreams  # noqa: PLC0415

        return ArchiveStreams(address)
    shown = address.partition("?")[0]  # what follows may hold a password
    raise AddressError(f"{shown!r} names no streams: write sqlite:DIR, kafka://HOST:PORT, files:DIR or archive:DIR")
