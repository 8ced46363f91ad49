"""What ``tail`` and ``judge`` share: a loop that reads on until it is asked to stop, whatever happens meanwhile."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import typer

from birdwatch.errors import AddressError, DiskFullError, LostError, StoreBusyError, StreamError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from birdwatch.health import Health
    from birdwatch.windows.reading import Reading

__all__ = ["Following", "serving_health", "until_asked_to_stop"]

_STILL_SECONDS: Final = 60.0
"""A tail that has fallen behind judges weeks at once."""

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 0.1


class _Reads(Protocol):
    reading: "Reading"

    def step(self) -> int: ...

    def close(self) -> None: ...


class Following:
    """Steps what reads, and makes it anew where a step failed for a reason that passes: it reads on from what was kept.

    Parameters
    ----------
    make
        Makes what reads. It failing the first time is an error; later it is tried again.
    insist
        Whether to try again; what reads to an end and stops there gives up instead.
    clock, sleep
        Monotonic seconds, and how to wait for them to pass.

    Attributes
    ----------
    trouble
        Why nothing is read at present, or None.
    """

    def __init__(
        self,
        make: Callable[[], _Reads],
        *,
        insist: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._make = make
        self._insist = insist
        self._clock = clock
        self._sleep = sleep
        self._reads: _Reads | None = make()
        self.reading = self._reads.reading
        self._pause = _FIRST_PAUSE_SECONDS
        self._again_at = 0.0
        self.trouble: str | None = None

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
        except (StreamError, DiskFullError, StoreBusyError) as error:
            if not self._insist:
                raise
            self._fail(str(error))
            return 0
        if self.trouble is not None:
            typer.echo("it goes on", err=True)
            self.trouble = None
        self._pause = _FIRST_PAUSE_SECONDS
        return read

    def _fail(self, why: str) -> None:
        """Let go of what failed, say why once, and try again a little later, longer each time."""
        if self.trouble is None:
            typer.echo(f"{why}; what was kept counts, and is gone on from", err=True)
        self.trouble = why
        self._release()
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def why(self) -> str | None:
        """Say why nothing is read at present, or None."""
        return self.trouble

    def close(self) -> None:
        """Let go of what is read."""
        self._release()

    def _release(self) -> None:
        reads, self._reads = self._reads, None
        if reads is not None:
            try:
                reads.close()
            except StreamError as error:
                typer.echo(f"{error}", err=True)


@contextmanager
def serving_health(
    port: int | None,
    host: str,
    component: str,
    collectors: "Sequence[Collector]",
    trouble: Callable[[], str | None],
    *,
    quiet: bool = False,
) -> "Iterator[Health]":
    """Answer /healthz, /readyz and /metrics meanwhile, where that is wanted."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - help should not wait for it

    from birdwatch.health import Health  # noqa: PLC0415

    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    with closing(Health(port, component, host, still_seconds=_STILL_SECONDS)) as health:
        health.show(Counter, registry, trouble)
        if health.port is not None:
            typer.echo(f"health on http://{host}:{health.port}", err=quiet)
        yield health


def until_asked_to_stop() -> Callable[[], bool]:
    """Have SIGTERM and Ctrl-C ask the process to stop, and give what tells whether one has."""
    asked = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return lambda: asked
