"""Where swaps of the features cut one gateway's requests, as the streams tell it."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final, NamedTuple

import msgspec

from birdwatch.errors import RecordError, ServingError
from birdwatch.records import Control, as_token, decode
from birdwatch.serving.horizon import catch_up
from birdwatch.streams import Positions, Streams

__all__ = ["COMPONENT", "Logged", "Swap", "read_requests", "read_swaps", "swap_in"]

COMPONENT: Final = "features"


class Swap(msgspec.Struct, frozen=True):
    """Which plug-in takes over; ``token`` names the cut, and is empty for the plug-in that came with the command."""

    token: str
    target: str | None = None
    config: Any = None


class Logged(NamedTuple):
    """What a gateway has put on ``requests``.

    Attributes
    ----------
    phases
        Its requests, by the token after which they lie; None before the first.
    cuts
        Where its tokens lie: the offset by partition, by token.
    """

    phases: "dict[str | None, list[Observed]]"
    cuts: dict[str, dict[int, int]]


class Observed(msgspec.Struct, gc=False):
    """What a plug-in observes of a Request."""

    ts: float
    received_ts: float
    features: dict[str, Any]
    reply_to: str = ""


def swap_in(control: Control) -> Swap | None:
    """Read a swap of the features; give None for any other record.

    Raises
    ------
    ServingError
        It lacks the token, or its target is no text.
    """
    params = control.params
    if control.action != "swap" or params.get("component") != COMPONENT:
        return None
    token, target, config = params.get("token"), params.get("target"), params.get("config")
    if not isinstance(token, str) or not token or not isinstance(target, str | None):
        raise ServingError(f"swap of the features by {control.author}: params {params!r} need a token and a target")
    return Swap(token, target, config)


def read_swaps(streams: Streams, by: str) -> tuple[list[Swap], set[str]]:
    """Read all swaps of the features on control, in order, and the tokens of those that a gateway has done."""
    swaps: dict[str, Swap] = {}
    done: set[str] = set()
    for value in _values(streams, "control"):
        try:
            control = decode(value, Control)
            swap = swap_in(control)
        except (RecordError, ServingError):
            continue  # who reads control while serving says so
        if swap is not None:
            swaps.setdefault(swap.token, swap)
        elif control.action == "swapped" and control.params.get("by") == by:
            done.add(str(control.params.get("token")))
    return list(swaps.values()), done


def _values(streams: Streams, stream: str) -> Iterable[bytes]:
    with closing(streams.reader([stream])) as reader:
        for messages in catch_up(streams, reader, [stream]):
            for message in messages:
                yield message.value


def read_requests(streams: Streams, by: str, positions: Positions, *, first_phase: bool = True) -> Logged:
    """Read what a gateway has put on ``requests`` since.

    Parameters
    ----------
    by
        The gateway's name.
    first_phase
        Whether the requests before the first token are wanted, too.
    """
    logged = Logged({None: []}, {})
    phase: dict[int, str] = {}
    with closing(streams.reader(["requests"])) as reader:
        reader.seek(positions)
        for messages in catch_up(streams, reader, ["requests"]):
            for message in messages:
                token = as_token(message.value)
                if token is None:
                    if first_phase or message.partition in phase:
                        _keep(message.value, by, logged.phases[phase.get(message.partition)])
                elif token.component == COMPONENT and token.by == by:
                    places = logged.cuts.setdefault(token.token, {})
                    if message.partition not in places:  # a second one was put by who could not know of the first
                        places[message.partition] = message.offset
                        phase[message.partition] = token.token
                        logged.phases.setdefault(token.token, [])
    return logged


def _keep(value: bytes, by: str, requests: list[Observed]) -> None:
    try:
        request = decode(value, Observed)
    except RecordError:
        return
    if request.reply_to == by:
        requests.append(request)
