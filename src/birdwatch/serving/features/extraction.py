"""The features' plug-in in force, what it remembers, and the cut at which another takes over.

A request is injected into and handed to the writer in one step of the event loop, and the writer keeps the order. So a
token handed to it between two requests is an exact cut: what this gateway puts on ``requests`` before it carries the old
plug-in's features, what comes after it the new one's. The new plug-in begins with what the old one remembered there.

What is remembered is kept as a `Snapshot`, whose positions lie in the same order. After a restart the requests logged
since are observed again, and a swap that was left undone is done, so that nothing is lost or counted twice.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec

from birdwatch.errors import ServingError, StreamError
from birdwatch.records import CONTROL_KEY, Control, Snapshot, Token, encode
from birdwatch.serving.features.cuts import COMPONENT, Swap, read_requests, read_swaps, swap_in
from birdwatch.serving.features.plugin import Gone, Inject, load_features, observe, remembers, restore_state, state_of
from birdwatch.serving.process import warn
from birdwatch.serving.snapshots import by_name, from_names, latest, save
from birdwatch.streams import Positions, Streams

__all__ = ["Extraction"]

_RETRY_SECONDS: Final = 1.0

T = TypeVar("T")


class Writer(Protocol):
    """What of `birdwatch.serving.gateway.wire.Wire` is needed here."""

    def append(self, stream: str, key: bytes, value: bytes, failed: Callable[[StreamError], None]) -> None:
        """Put a message on a stream soon."""
        ...

    def then(self, run: Callable[[], T]) -> Future[T]:
        """Run something after all that was appended before it, and before what comes after."""
        ...


class Extraction:
    """Injects, and is swapped while it does; used by one event loop.

    Parameters
    ----------
    inject, target, config
        The plug-in that serves until control says otherwise, and what it was loaded from.
    name
        The gateway's.
    snapshot_seconds
        How often what is remembered is kept.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        inject: Inject,
        *,
        name: str,
        target: str | None = None,
        config: Any = None,
        snapshot_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._name = name
        self._snapshot_seconds = snapshot_seconds
        self._clock = clock
        self._command = Swap("", target, config)
        self._swaps = {"": self._command}
        self._swap = self._command
        self._inject = inject
        self._at: dict[int, int] = {}
        self._asked = False
        self._waiting: asyncio.Queue[Swap] = asyncio.Queue()
        self._closing = threading.Event()

    def __call__(self, features: dict[str, Any], ts: float) -> dict[str, Any]:
        """Inject. What it gives must reach the writer before anything is awaited."""
        self._asked = True
        return self._inject(features, ts)

    @property
    def unkept(self) -> bool:
        """Whether there is something to remember that has not been kept."""
        return self._asked and remembers(self._inject)

    def recover(self) -> None:
        """Take over from the process before this one: its plug-in, what that remembered, and the swap it left undone.

        Called before the writer runs and before any request is taken.

        Raises
        ------
        ServingError
            The plug-in in force cannot be loaded, or not begin with what it remembered.
        StreamError
            The streams cannot be read or written.
        """
        swaps, done = read_swaps(self._streams, self._name)
        self._swaps |= {swap.token: swap for swap in swaps}
        ends = self._streams.ends(["requests"])
        kept = latest(self._streams, COMPONENT, self._name)
        halfway = kept is not None and self._replay(kept) and len(self._at) < len(ends)
        if self._do_what_was_left() or halfway:
            self._put(self._swap)
            self._at = read_requests(self._streams, self._name, ends).cuts.get(self._swap.token, {}) | self._at
        if isinstance(self._inject, Gone):
            raise ServingError(f"the features' plug-in in force cannot be loaded: {self._inject.why}")
        if self._swap.token or remembers(self._inject):
            self._save(self._state())
        if self._swap.token and self._swap.token not in done:
            self._streams.append("control", [(CONTROL_KEY, self._swapped())])

    def _replay(self, kept: Snapshot) -> bool:
        """Come from a snapshot to where the log ends, by the requests and the cuts since; say whether there was a cut."""
        memory = msgspec.convert(kept.state, _Memory, str_keys=True)
        given = self._inject
        if kept.token or memory.target != self._command.target:
            self._swap = Swap(kept.token, memory.target, memory.config)
            self._inject = _load(self._swap)
        if kept.token not in self._swaps:
            self._swaps = {"": self._command, kept.token: self._swap} | self._swaps
        self._at = memory.at
        if remembers(self._inject):
            restore_state(self._inject, memory.state, memory.target)
        positions = from_names(kept.positions)
        logged = read_requests(self._streams, self._name, positions, first_phase=remembers(self._inject))
        for token, requests in logged.phases.items():
            if token is not None and token in self._swaps:
                self._take_over(self._swaps[token], _load(self._swaps[token]))
                self._at = logged.cuts[token]
            if remembers(self._inject):
                for request in sorted(requests, key=lambda each: each.received_ts):
                    observe(self._inject, request.features, request.ts, self._swap.target)
        if not self._swap.token and self._swap is not self._command:
            warn(
                "gateway",
                f"features: {self._command.target} begins with nothing, since {memory.target} served before it: swap on"
                " control where one should take over from the other",
            )
            self._swap, self._inject = self._command, given
        return self._swap.token in logged.cuts

    def _do_what_was_left(self) -> bool:
        """Let the latest swap take over that can be; say whether there was one to do."""
        tokens = list(self._swaps)
        for token in reversed(tokens[tokens.index(self._swap.token) + 1 :]):
            swap = self._swaps[token]
            try:
                self._take_over(swap, load_features(swap.target, swap.config))
            except ServingError as error:
                warn("gateway", f"features: swap {token!r} is refused: {error}")
            else:
                return True
        return False

    def _take_over(self, swap: Swap, inject: Inject) -> None:
        if remembers(inject) and remembers(self._inject):
            restore_state(inject, msgspec.json.decode(state_of(self._inject, self._swap.target)), swap.target)
        self._inject, self._swap, self._at = inject, swap, {}

    def offer(self, control: Control) -> str | None:
        """Take note of a swap on control; one that cannot be read is left out, and the reason given."""
        try:
            swap = swap_in(control)
        except ServingError as error:
            return str(error)
        if swap is not None and swap.token not in self._swaps:
            self._swaps[swap.token] = swap
            self._waiting.put_nowait(swap)
        return None

    async def run(self, writer: Writer) -> None:
        """Do the swaps as they come, one after the other, and keep what is remembered every so often."""
        while True:
            try:
                swap = await asyncio.wait_for(self._waiting.get(), self._snapshot_seconds)
            except TimeoutError:
                swap = None
            if swap is not None:
                await self._swap_or_say(swap, writer)
            elif self.unkept:
                try:
                    await self.keep(writer)
                except (ServingError, StreamError) as error:
                    warn("gateway", f"features: what is remembered is not kept: {error}")

    async def _swap_or_say(self, swap: Swap, writer: Writer) -> None:
        while self._swap != swap:
            try:
                await self.swap(swap, writer)
            except ServingError as error:
                warn("gateway", f"features: swap {swap.token!r} is refused: {error}")
                return
            except StreamError as error:
                done = "in force, and not told" if self._swap == swap else "put off"
                warn("gateway", f"features: swap {swap.token!r} is {done}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def swap(self, swap: Swap, writer: Writer) -> None:
        """Let another plug-in take over; it is loaded while the old one serves.

        A snapshot goes before the token, so that who starts after a kill need not look far for where the cut lies.

        Raises
        ------
        ServingError, StreamError
            It cannot be loaded, or not begin where the old one ends, and the old one goes on; or the new one is in force
            and the streams do not take what should tell of it: the next start makes up for that.
        """
        inject = await asyncio.to_thread(load_features, swap.target, swap.config)
        before = await self.keep(writer)
        self._take_over(swap, inject)
        written = writer.then(partial(self._put_surely, swap))  # since the line above no request has come in between
        await asyncio.wrap_future(written)
        logged = await asyncio.to_thread(read_requests, self._streams, self._name, before, first_phase=False)
        self._at = logged.cuts.get(swap.token, {})
        await self.keep(writer)
        writer.append("control", CONTROL_KEY, self._swapped(), lambda _: None)

    async def keep(self, writer: Writer) -> Positions:
        """Keep what is remembered now; give the positions that belong to it.

        Raises
        ------
        ServingError
            The plug-in gives no snapshot.
        StreamError
            It cannot be written.
        """
        state, self._asked = self._state(), False
        try:
            return await asyncio.wrap_future(writer.then(partial(self._save, state)))
        except StreamError:
            self._asked = True
            raise

    def close(self) -> None:
        """Try no longer to write a token that cannot be written."""
        self._closing.set()

    def _state(self) -> Snapshot:
        # Encoded at once: the plug-in may go on changing what it gave.
        state = msgspec.Raw(state_of(self._inject, self._swap.target)) if remembers(self._inject) else None
        memory = _Memory(target=self._swap.target, config=self._swap.config, state=state, at=self._at)
        return Snapshot(component=COMPONENT, by=self._name, ts=self._clock(), state=memory, token=self._swap.token)

    def _save(self, snapshot: Snapshot) -> Positions:
        """Write a snapshot: by the writer, so that the stream ends where the state was taken."""
        positions = self._streams.ends(["requests"])
        snapshot.positions = by_name(positions)
        save(self._streams, snapshot)
        return positions

    def _put(self, swap: Swap) -> None:
        token = Token(token=swap.token, component=COMPONENT, to=swap.target or "", by=self._name)
        self._streams.broadcast("requests", swap.token.encode(), encode(token))

    def _put_surely(self, swap: Swap) -> None:
        """Put the token, however long it takes: what belongs after it must wait."""
        while True:
            try:
                self._put(swap)
            except StreamError as error:
                warn("gateway", f"features: the token {swap.token!r} is not written, trying again: {error}")
                if self._closing.wait(_RETRY_SECONDS):
                    raise
            else:
                return

    def _swapped(self) -> bytes:
        at = {str(partition): offset for partition, offset in self._at.items()}
        done = Control(
            ts=self._clock(),
            action="swapped",
            author=self._name,
            reason=f"its requests after the token carry what {self._swap.target} injects",
            params={"component": COMPONENT, "token": self._swap.token, "by": self._name, "at": at},
        )
        return encode(done)


class _Memory(msgspec.Struct):
    """The state in a Snapshot: the plug-in in force, what it remembers, and where its cut lies."""

    target: str | None = None
    config: Any = None
    state: Any = None
    at: dict[int, int] = {}


def _load(swap: Swap) -> Inject:
    try:
        return load_features(swap.target, swap.config)
    except ServingError as error:
        return Gone(str(error))
