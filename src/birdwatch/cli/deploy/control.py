"""What all changes share: their options, the check against what is on control, and the writing."""

import difflib
import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

if TYPE_CHECKING:
    from birdwatch.records import Action, Control
    from birdwatch.serving.control.fleet import Fleet
    from birdwatch.serving.control.ledger import Ledger
    from birdwatch.streams import Streams

__all__ = [
    "STREAMS",
    "AuthorOption",
    "JsonOption",
    "Ledgered",
    "ModelArgument",
    "ReasonOption",
    "StreamsOption",
    "TsOption",
    "make_control",
    "opened",
    "put",
    "require_fleet",
    "require_known",
    "require_version",
    "write",
]

STREAMS: Final = "sqlite:birdwatch-streams"

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
StreamsOption = Annotated[str, typer.Option("--streams", help="Where the streams live.", envvar="BIRDWATCH_STREAMS")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for those who read it later.")]
AuthorOption = Annotated[str | None, typer.Option("--author", help="Who; your login name by default.")]
TsOption = Annotated[
    float | None, typer.Option("--ts", help="Event time in Unix seconds, for a replay; now by default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the record itself.")]


class Ledgered(NamedTuple):
    """Streams, all that is on their control, and the versions among the last scores by model."""

    place: "Streams"
    ledger: "Ledger"
    heard: dict[str, list[str]]


@contextmanager
def opened(streams: str) -> Iterator[Ledgered]:
    """Open streams and read their control."""
    from birdwatch.serving.control.ledger import read_ledger  # noqa: PLC0415 - `--help` should not wait
    from birdwatch.streams import open_streams  # noqa: PLC0415

    with closing(open_streams(streams)) as place:
        yield Ledgered(place, *read_ledger(place))


def require_fleet(on: Ledgered) -> "Fleet":
    """Give the fleet; without a schedule nobody can say what a change would come to.

    Raises
    ------
    SettingsError
        There is none.
    """
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    if on.ledger.fleet is None:
        raise SettingsError(
            f"no schedule is on the control stream of {on.place.address}, so nothing can be checked against it:"
            " start the rendezvous, which puts its own there, or `birdwatch deploy schedule FILE`"
        )
    return on.ledger.fleet


def require_known(fleet: "Fleet", model: str) -> None:
    """Refuse a model of which nobody has heard.

    Raises
    ------
    SettingsError
        It is in no tier, was not registered, and has not scored; the nearest name is given.
    """
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    known = [standing.model for standing in fleet.standing()]
    if model not in known:
        near = difflib.get_close_matches(model, known, n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}; `deploy register` makes another"
        )
        raise SettingsError(f"there is no model {model!r}: {hint}")


def require_version(on: Ledgered, model: str, version: str) -> None:
    """Refuse a version that was neither on control nor among the last scores: it may be a slip of the pen.

    Raises
    ------
    SettingsError
        It is not known; those that are known are named.
    """
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    said = [entry.control.version for entry in on.ledger.entries if entry.control.model == model]
    known = sorted({version for version in (*said, *on.heard.get(model, [])) if version})
    if version not in known:
        raise SettingsError(f"{model!r} has no version {version!r}: known are {', '.join(known) or 'none'}")


def make_control(
    action: "Action",
    model: str,
    version: str,
    params: dict[str, Any],
    *,
    reason: str,
    author: str | None,
    ts: float | None,
) -> "Control":
    """Make a record; who and when are filled in."""
    from birdwatch.records import Control  # noqa: PLC0415

    return Control(
        ts=time.time() if ts is None else ts,
        action=action,
        author=author or getpass.getuser(),
        reason=reason,
        model=model,
        version=version,
        params=params,
    )


def write(
    streams: str, control: "Control", *, as_json: bool, check: "Callable[[Ledgered, Control], None] | None" = None
) -> None:
    """Check a change against all that is on control, and put it there.

    Parameters
    ----------
    check
        What else must hold; it raises what speaks against the change.

    Raises
    ------
    SettingsError
        The rendezvous would refuse it.
    """
    with opened(streams) as on:
        fleet = require_fleet(on)
        if control.model and control.action != "register":
            require_known(fleet, control.model)
        if control.action in ("champion", "rollback", "retire"):
            for version in filter(None, (control.version, control.params.get("to"))):
                require_version(on, control.model, version)
        if check is not None:
            check(on, control)
        put(on, control, as_json=as_json)


def put(on: Ledgered, control: "Control", *, as_json: bool, quiet: bool = False) -> None:
    """Put a change on control, if the fleet takes it, and say so.

    Raises
    ------
    SettingsError
        The rendezvous would refuse it.
    """
    from birdwatch.errors import SettingsError  # noqa: PLC0415
    from birdwatch.records import CONTROL_KEY, encode  # noqa: PLC0415
    from birdwatch.serving.control.ledger import say  # noqa: PLC0415

    refused = on.ledger.enter(control)
    if refused:
        raise SettingsError(f"nothing is written, since the rendezvous would refuse it: {refused}")
    value = encode(control)
    on.place.append("control", [(CONTROL_KEY, value)])
    if as_json and not quiet:
        typer.echo(value.decode())
    elif not quiet:
        named = control.model or control.version
        what = " ".join(filter(None, (control.action, control.model, control.version))) if named else say(control)
        typer.echo(f"{what}: on the control stream of {on.place.address}, by {control.author}")
