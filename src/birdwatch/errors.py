"""Everything that Birdwatch raises on purpose.

::

    BirdwatchError
    ├── SettingsError          a setting, rule or mapping that cannot be used; names the place and the remedy
    ├── StreamError            a stream that cannot be reached, read or written
    │   ├── AddressError       an address that names no place for streams
    │   ├── LostError          messages that were gone before they were read, where the settings say to stop then
    │   └── MovedError         a write for partitions that another reader of the group has by now
    ├── RecordError            bytes that are not the record they should be
    ├── DiskFullError          a stream, store or archive that has no room; a StreamError and a StoreError
    ├── StoreError             a store of another grid, pane length or schema; two writers at once
    │   └── StoreBusyError     a store that another process holds locked at the moment
    ├── DeliveryError          a receiver that did not take an alert
    │   └── GoneError          a receiver that wants no more of them, ever
    ├── ReferenceMissingError   a reference that is missing, too small or overlaps what it judges
    └── ServingError           a model or a process of the serving side that cannot start

Bad arguments raise ``ValueError``; these are for what comes from outside the program.
"""

__all__ = [
    "AddressError",
    "BirdwatchError",
    "DeliveryError",
    "DiskFullError",
    "GoneError",
    "LostError",
    "MovedError",
    "RecordError",
    "ReferenceMissingError",
    "ServingError",
    "SettingsError",
    "StoreBusyError",
    "StoreError",
    "StreamError",
]


class BirdwatchError(Exception):
    """The root: catch it to catch all that Birdwatch raises on purpose."""


class SettingsError(BirdwatchError):
    """A setting, rule or mapping cannot be used; the message names the place and the remedy."""


class StreamError(BirdwatchError):
    """A stream cannot be reached, read or written."""


class AddressError(StreamError):
    """An address names no place for streams."""


class LostError(StreamError):
    """Messages were gone before they were read, and the settings say to stop then."""


class MovedError(StreamError):
    """Another reader of the group has the partitions by now; nothing was written."""


class RecordError(BirdwatchError):
    """Bytes are not the record that they should be; the message is the reason given to the dead letter."""


class StoreError(BirdwatchError):
    """The store belongs to another grid, pane length or schema, or another process writes it."""


class DiskFullError(StreamError, StoreError):
    """A disk has no room: nothing was written, nothing deleted; the same works again when there is room."""


class StoreBusyError(StoreError):
    """Another process holds the store locked: nothing was written; the same works again when it lets go."""


class DeliveryError(BirdwatchError):
    """A receiver did not take an alert; it is tried again.

    Attributes
    ----------
    retry_after
        Seconds for which it asks to be left alone; None where it does not say.
    unsure
        It may have taken it nevertheless: the answer was lost, or only a part of it took it.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, unsure: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unsure = unsure


class GoneError(DeliveryError):
    """A receiver wants no more alerts: what there is waits until somebody enables it again."""


class ReferenceMissingError(BirdwatchError):
    """A reference is named that does not exist or cannot serve."""


class ServingError(BirdwatchError):
    """A model or a process of the serving side cannot start."""
