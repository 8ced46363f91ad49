"""``birdwatch deploy swap``: let another instance take over at a token among the requests."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.deploy.control import (
    STREAMS,
    AuthorOption,
    JsonOption,
    ReasonOption,
    StreamsOption,
    TsOption,
    make_control,
    opened,
    put,
    require_fleet,
)

if TYPE_CHECKING:
    from birdwatch.streams import Partition, Streams

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Let another rendezvous, or another plug-in for the features, take over at a token among the requests.",
)

RECENT_SECONDS: Final = 120.0
"""A rendezvous commits what it has read a minute later: what has waited twice as long, nobody reads."""


@app.command()
def rendezvous(
    to: Annotated[str, typer.Option("--to", help="The name of the instance that takes over; it must be running.")],
    reason: ReasonOption,
    anyway: Annotated[bool, typer.Option("--anyway", help="Though it does not seem to be running.")] = False,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another rendezvous answer all requests after a token: `serve rendezvous --name NAME` must be running."""
    from birdwatch.errors import SettingsError  # noqa: PLC0415 - `--help` should not wait
    from birdwatch.records import Token, encode, new_id  # noqa: PLC0415

    with opened(streams) as on:
        require_fleet(on)
        if on.ledger.in_charge == [to]:
            raise SettingsError(f"{to!r} is in charge already: name another instance")
        if not any(on.place.ends(["requests"]).values()):
            raise SettingsError(f"nothing was ever asked in {on.place.address}, so there is nothing to cut through yet")
        why = None if anyway else _not_there(on.place, to)
        if why:
            raise SettingsError(
                f"{why}: start it with `birdwatch serve rendezvous --name {to}` and give it two minutes, or say --anyway"
            )
        token = Token(token=new_id(), component="rendezvous", to=to)
        params = {"component": "rendezvous", "token": token.token, "to": to}
        put(on, make_control("swap", "", "", params, reason=reason, author=author, ts=ts), as_json=as_json)
        on.place.broadcast("requests", token.token.encode(), encode(token))


def _not_there(place: "Streams", name: str) -> str | None:
    """Say why an instance does not seem to read the requests, or None if it does."""
    committed = place.committed(name, ["requests"])
    for partition, end in sorted(place.ends(["requests"]).items()):
        at = committed.get(partition)
        if at is None:
            return f"no instance {name!r} has read the requests" + (
                f" of partition {partition.number}" if partition.number else ""
            )
        waited = _waited(place, partition, at) if at < end else 0.0
        if waited > RECENT_SECONDS:
            return f"{name!r} has last read the requests {waited / 60:.0f} minutes ago"
    return None


def _waited(place: "Streams", partition: "Partition", offset: int) -> float:
    """Give how long ago the request came that lies there; 0 where that cannot be told."""
    import msgspec  # noqa: PLC0415

    with closing(place.reader(["requests"])) as reader:
        reader.seek({at: end for at, end in place.ends(["requests"]).items() if at != partition} | {partition: offset})
        for message in reader.poll(1, 5.0):
            try:
                received: Any = msgspec.json.decode(message.value).get("received_ts")
            except (msgspec.DecodeError, AttributeError):
                return 0.0
            return time.time() - received if isinstance(received, int | float) else 0.0
    return 0.0


@app.command()
def features(
    target: Annotated[str, typer.Option(help="The plug-in that takes over, module:function.")],
    reason: ReasonOption,
    config: Annotated[
        str | None, typer.Option(help="A path or JSON; --target then names a factory that is called with it.")
    ] = None,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another plug-in inject the features: each gateway loads it, and cuts its own requests with a token."""
    from birdwatch.records import new_id  # noqa: PLC0415

    params: dict[str, Any] = {"component": "features", "token": new_id(), "target": target}
    if config is not None:
        params["config"] = config
    with opened(streams) as on:
        require_fleet(on)
        put(on, make_control("swap", "", "", params, reason=reason, author=author, ts=ts), as_json=as_json)
