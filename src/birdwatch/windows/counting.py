"""What all counting shares: how each stream is read, how its values are counted, and whom models are compared with."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from birdwatch.config import Settings
from birdwatch.errors import SettingsError
from birdwatch.windows.build import Built, Grid, build, join_columns
from birdwatch.windows.decode import COUNTED, Columns, Decoder
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.names import Names

if TYPE_CHECKING:
    from birdwatch.records import Control

__all__ = ["CONTROL", "TIMED", "Counting"]

CONTROL: Final = "control"

TIMED: Final = frozenset({"requests", "scores", "canary", "metrics"})
"""Streams whose times say how far the traffic has come."""


class Counting:
    """Turns messages into columns, and the columns of a pane into counts.

    Parameters
    ----------
    settings
        Mappings, inputs, scale, champion, canary.
    now
        The wall clock.

    Attributes
    ----------
    topics
        The topics to read, each with the streams of ours that are found there.
    names
        Numbers for the names of models.
    controls
        What operators did, in order of event time; whoever reads the control stream keeps it up to date.

    Raises
    ------
    SettingsError
        A mapping cannot be used.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], float]) -> None:
        self._settings = settings
        self._grid = Grid(settings.scale, settings.unit)
        self._inputs = Inputs.of(settings)
        self.names = Names()
        self.controls: Sequence[Control] = ()
        unknown = sorted(set(settings.mappings) - {*COUNTED, CONTROL})
        if unknown:
            raise SettingsError(f"mappings.{unknown[0]}: no such stream; there are {', '.join([*COUNTED, CONTROL])}")
        control = settings.mappings.get(CONTROL)
        if control is not None and (control.fields or control.constants or control.units):
            raise SettingsError("mappings.control: only its `topic` can be set, control records are Birdwatch's own")
        self.topics: dict[str, list[str]] = {}
        for stream in (*COUNTED, CONTROL):
            self.topics.setdefault(self.topic_of(stream), []).append(stream)
        self._decoders = {
            stream: Decoder(
                stream,
                self.names,
                settings.mappings.get(stream),
                self._inputs,
                now=now,
                earliest=settings.earliest,
                ahead_seconds=settings.ahead_seconds,
            )
            for stream in COUNTED
        }

    @property
    def timed(self) -> list[str]:
        """The topics whose times say how far the traffic has come.

        Truth comes when it comes, and control when someone acts.
        """
        return [topic for topic, ours in self.topics.items() if not TIMED.isdisjoint(ours)]

    def topic_of(self, stream: str) -> str:
        """Name the topic on which a stream of ours is found."""
        mapping = self._settings.mappings.get(stream)
        return (mapping.topic if mapping else None) or stream

    def decoder(self, stream: str) -> Decoder:
        """Give what reads a stream's messages into columns."""
        return self._decoders[stream]

    def build(self, parts: dict[str, list[Columns]], start: int, *, whole: bool) -> Built:
        """Count the rows of the pane that begins at ``start``, by stream; see `birdwatch.windows.build.build`."""
        streams = {stream: join_columns(columns) for stream, columns in parts.items()}
        champion, canary = self._champion(start), self._settings.canary
        return build(streams, self.names, self._grid, champion, canary, self._inputs, whole=whole)

    def build_alone(self, parts: dict[str, list[Columns]], *, whole: bool) -> Built:
        """Count rows that came too late to be joined with the others of their pane."""
        streams = {stream: join_columns(columns) for stream, columns in parts.items()}
        return build(streams, self.names, self._grid, inputs=self._inputs, whole=whole)

    def _champion(self, start: int) -> str:
        """Name the champion in force when a pane began."""
        named = [c.model for c in self.controls if c.action == "champion" and c.ts <= start]
        return named[-1] if named else self._settings.champion
