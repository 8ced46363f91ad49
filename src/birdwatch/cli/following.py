"""What ``tail`` and ``judge`` share: they read on until they are asked to stop, whatever happens meanwhile."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import typer

from birdwatch.errors import AddressError, LostError, StoreBusyError, StreamError
from birdwatch.health import Health, Trouble

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from birdwatch.windows.reading import Reading

__all__ = ["Following", "Reads", "follow", "serving_health"]

_STILL_SECONDS: Final = 60.0
"""A tail that has fallen behind judges weeks at once."""

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 0.1


class Reads(Protocol):
    """What reads streams, step by step."""

    reading: "Reading"

    def step(self) -> int:
        """Read once; give the number of messages read."""
        ...

    def close(self) -> None:
        """Let go of what is read."""
        ...


class Following:
    """Steps what reads, and makes it anew where a step failed for a reason that passes: it reads on from what was kept.

    Parameters
    ----------
    make
        Makes what reads. It failing the first time is an error; later it is tried again.
    clock, sleep
        Monotonic seconds, and how to wait for them to pass.

    Attributes
    ----------
    reading
        What was read since the start.
    trouble
        Why nothing is read at present.
    """

    def __init__(
        self,
        make: Callable[[], Reads],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._make = make
        self._clock = clock
        self._sleep = sleep
        self._reads: Reads | None = make()
        self.reading = self._reads.reading
        self.trouble = Trouble(lambda reason: typer.echo(reason, err=True))
        self._pause = _FIRST_PAUSE_SECONDS
        self._again_at = 0.0

    def step(self) -> int:
        """Read once; give the number of messages read.

        Raises
        ------
        BirdwatchError
            Something that does not pass by itself.
        """
        if self._reads is None and self._clock() < self._again_at:
            self._sleep(_TURN_SECONDS)  # in short turns: it may be asked to stop
            return 0
        try:
            if self._reads is None:
                self._reads = self._make()
                self._reads.reading.go_on_from(self.reading)
                self.reading = self._reads.reading
            read = self._reads.step()
        except (AddressError, LostError):
            raise
        except (StreamError, StoreBusyError) as error:  # a full disk among them
            self._fail(f"trying again: {error}")
            return 0
        self.trouble.ends()
        self._pause = _FIRST_PAUSE_SECONDS
        return read

    def _fail(self, why: str) -> None:
        """Let go of what failed, and try again a little later, longer each time."""
        self.trouble.begins(why)
        self.close()
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Let go of what is read."""
        reads, self._reads = self._reads, None
        if reads is not None:
            try:
                reads.close()
            except StreamError as error:
                typer.echo(str(error), err=True)


def follow(
    make: Callable[[], Reads],
    stopping: Callable[[], bool],
    *,
    component: str,
    port: int | None,
    host: str,
    shown: "Sequence[Collector]" = (),
) -> "Reading":
    """Read on until asked to stop; give what was read.

    Parameters
    ----------
    make
        Makes what reads.
    component
        Goes into the names of the metrics.
    port, host
        Where to answer for its health, if at all.
    shown
        What is shown at /metrics beside what is read.
    """
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs

    from birdwatch.windows.metrics import ReadingMetrics  # noqa: PLC0415

    following = Following(make)
    collectors = [ReadingMetrics(lambda: following.reading), *shown]
    with (
        closing(following),
        serving_health(port, host, component, collectors, lambda: following.trouble.reason) as health,
        Console(stderr=True).status("reading") as status,
    ):
        typer.echo("ready")
        while not stopping():
            health.pulse.beat()
            if following.step():
                status.update(f"{following.reading.messages:,} messages read")
    return following.reading


@contextmanager
def serving_health(
    port: int | None,
    host: str,
    component: str,
    collectors: "Sequence[Collector]",
    trouble: Callable[[], str | None] = lambda: None,
    *,
    quiet: bool = False,
) -> "Iterator[Health]":
    """Answer /healthz, /readyz and /metrics meanwhile, where that is wanted."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - help should not wait for it

    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    with closing(Health(port, component, host, still_seconds=_STILL_SECONDS)) as health:
        health.show(Counter, registry, trouble)
        if health.port is not None:
            typer.echo(f"health on http://{host}:{health.port}", err=quiet)
        yield health
