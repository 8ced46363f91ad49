"""``birdwatch alerts silence``, ``silences``, ``unsilence`` and ``ack``: what people say to alerts.

They write beside the process that counts into the store, in short transactions, as the delivery does.
"""

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.cli.options import SettingsFile, StoreFile
from birdwatch.config import load_settings
from birdwatch.detect.duration import parse_duration, parse_moment, say_moment
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from birdwatch.alerts.silences import Silence
    from birdwatch.windows.store import Store

__all__ = ["ack", "silence", "silences", "unsilence"]

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Author = Annotated[str | None, typer.Option(help="Who says so; your login by default.")]


def silence(
    matchers: Annotated[
        list[str], typer.Argument(help="What to silence: label=value, label!=value, label=~regex, label!~regex.")
    ],
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it.")],
    settings: SettingsFile = None,
    store: StoreFile = None,
    for_: Annotated[str | None, typer.Option("--for", help="How long: 30m, 2h, 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="Until when: a date or time (UTC), or Unix seconds.")] = None,
    since: Annotated[str | None, typer.Option(help="From when on; now by default.")] = None,
    author: _Author = None,
    as_json: _Json = False,
) -> None:
    """Silence alerts for a while: they stay in the history, and nobody is told.

    An alert is silenced when it meets all matchers, which look at its rule, model, version, partner, severity, feature,
    attribution or fingerprint; a regular expression is matched against the whole, as in Alertmanager (quote it: shells
    read ~ and * too). A receiver that has
    heard already that one fires still hears that it resolved. What still fires when the silence ends is told then.
    """
    from birdwatch.alerts.matchers import parse_matcher  # noqa: PLC0415 - help should not wait for the work
    from birdwatch.alerts.silences import add_silence  # noqa: PLC0415

    now = time.time()
    begins = None if since is None else _moment("--since", since)
    if (for_ is None) is (until is None):
        raise SettingsError("say how long: give --for 2h, or --until")
    if until is not None:
        ends = _moment("--until", until)
    else:
        ends = (now if begins is None else begins) + _duration(str(for_))
    chosen = [parse_matcher(text) for text in matchers]
    with _written(settings, store) as kept:
        made = add_silence(kept, chosen, until=ends, since=begins, author=_author(author), reason=reason, now=now)
    if as_json:
        _print_json(_plain(made, now))
    else:
        typer.echo(f"silence {made.id}: {' '.join(map(str, made.matchers))} until {say_moment(made.ends)} UTC")


def silences(
    settings: SettingsFile = None,
    store: StoreFile = None,
    expired: Annotated[bool, typer.Option("--expired", help="List those that have ended too.")] = False,
    as_json: _Json = False,
) -> None:
    """List the silences that are in force or to come."""
    from birdwatch.alerts.silences import read_silences  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    now = time.time()
    kept = Store(load_settings(settings, store=store).store, readonly=True)
    found = read_silences(kept, now, expired=expired)
    kept.close()
    if as_json:
        _print_json([_plain(one, now) for one in found])
    elif found:
        _print_table(found, now)
    else:
        typer.echo("no silences")


def unsilence(
    number: Annotated[int, typer.Argument(metavar="ID", help="The silence, as `birdwatch alerts silences` lists it.")],
    settings: SettingsFile = None,
    store: StoreFile = None,
    as_json: _Json = False,
) -> None:
    """End a silence now: what it held back and still fires is told."""
    from birdwatch.alerts.silences import expire_silence  # noqa: PLC0415

    now = time.time()
    with _written(settings, store) as kept:
        ended = expire_silence(kept, number, now=now)
    if as_json:
        _print_json(_plain(ended, now))
    else:
        typer.echo(f"silence {ended.id} has ended")


def ack(
    fingerprint: Annotated[str, typer.Argument(help="An alert's fingerprint, or its first digits.")],
    settings: SettingsFile = None,
    store: StoreFile = None,
    note: Annotated[str, typer.Option(help="What others should know.")] = "",
    author: _Author = None,
    as_json: _Json = False,
) -> None:
    """Say that you look after an alert that fires: `list`, `show` and the dashboard name you.

    It holds until the alert resolves; if it fires again, it is new.
    """
    from birdwatch.alerts.acknowledgements import acknowledge  # noqa: PLC0415

    now, who = time.time(), _author(author)
    with _written(settings, store) as kept:
        whole = acknowledge(kept, fingerprint, author=who, now=now, note=note)
    if as_json:
        _print_json({"fingerprint": whole, "author": who, "at": now, "note": note})
    else:
        typer.echo(f"{whole} is acknowledged by {who}")


def _written(settings: Path | None, store: Path | None) -> "AbstractContextManager[Store]":
    from birdwatch.alerts.beside import beside  # noqa: PLC0415 - help should not wait for the work

    return beside(load_settings(settings, store=store).store)


def _author(said: str | None) -> str:
    if said is not None:
        return said
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # a container may run as a number without a name
        raise SettingsError("nobody knows who you are here: give --author") from error


def _moment(option: str, text: str) -> float:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from error


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--for: {error}") from error


def _plain(one: "Silence", now: float) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state(now),
        "matchers": [str(matcher) for matcher in one.matchers],
        "starts": one.starts,
        "ends": one.ends,
        "author": one.author,
        "reason": one.reason,
    }


def _print_json(said: Any) -> None:
    import json  # noqa: PLC0415

    typer.echo(json.dumps(said))


def _print_table(found: "Sequence[Silence]", now: float) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE)
    for name in ("silence", "state", "until (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in ("what", "by", "why"):
        table.add_column(name, overflow="fold")
    for one in found:
        what = " ".join(str(matcher) for matcher in one.matchers)
        stands = f"from {say_moment(one.starts)}" if one.state(now) == "pending" else one.state(now)
        # As text: a regular expression may look like rich's markup.
        table.add_row(str(one.id), stands, say_moment(one.ends), Text(what), Text(one.author), Text(one.reason))
    Console().print(table)
