"""``birdwatch streams``: look at streams, without leaving a trace in any group's offsets."""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.config import load_settings
from birdwatch.errors import RecordError, StreamError

if TYPE_CHECKING:
    from birdwatch.streams import Message, Positions, Streams
    from birdwatch.streams.deadletters import DeadLetter
    from birdwatch.streams.requeue import Letter

__all__ = ["app", "known", "print_rows", "utc"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Look at streams.")

_Address = Annotated[str | None, typer.Option("--streams", help="Where the streams live.")]
_SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A YAML file of settings; ./birdwatch.yaml by default.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(settings: _SettingsFile = None, streams: _Address = None, as_json: _Json = False) -> None:
    """List the streams that exist, with their partitions and how many messages have been written."""
    place = _open(settings, streams)
    ends = place.ends(place.names())
    found: dict[str, dict[str, Any]] = {}
    for partition, end in sorted(ends.items()):
        row = found.setdefault(partition.stream, {"stream": partition.stream, "partitions": 0, "messages": 0})
        row["partitions"] += 1
        row["messages"] += end
    place.close()
    print_rows(list(found.values()), as_json=as_json, empty=f"no streams in {place.address}")


@app.command()
def cat(
    name: Annotated[str, typer.Argument(help="The stream.")],
    settings: _SettingsFile = None,
    streams: _Address = None,
    first: Annotated[int | None, typer.Option("--from", min=0, help="Begin at this offset.")] = None,
    tail: Annotated[int | None, typer.Option(min=0, help="Print only the last so many messages.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes; end with Ctrl-C.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only dead letters whose reason has this text in it.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only dead letters of messages on this stream.")] = None,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Put dead letters back on the streams they came from.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print stream, partition, offset, key and value.")] = False,
) -> None:
    """Print the messages of a stream, one a line, as they lie; dead letters for people, tables row by row.

    --from and --tail count in each partition by itself.

    With --requeue, dead letters are put back, with their keys, to be read again: those that have not been dealt with by an
    earlier --requeue, or from where --from or --tail say. It says which could not be put back.
    """
    _refuse_nonsense(
        name, {"--from": first, "--tail": tail}, {"--requeue": requeue or None, "--reason": reason, "--stream": stream}
    )
    if requeue and follow:
        raise typer.BadParameter("give --requeue or --follow, not both: letters that come later are for another time")
    place = _open(settings, streams)
    if not follow:
        known(place, [name])
    ends = place.ends([name])
    chosen = _chosen(reason, stream)
    begin = {partition: max(end - tail, 0) if tail is not None else first or 0 for partition, end in ends.items()}
    try:
        if requeue:
            _requeue(place, begin if first is not None or tail is not None else None, chosen, as_json=as_json)
            return
        show = _as_json if as_json else _as_text
        for message in _messages(place, name, begin, ends, follow=follow):
            if chosen is None or _is_chosen(message, chosen):
                for line in show(message):
                    typer.echo(line)
    except KeyboardInterrupt:
        if not follow:
            raise
    finally:
        place.close()


@app.command()
def lag(
    group: Annotated[str, typer.Option(help="The consumer group.")],
    settings: _SettingsFile = None,
    streams: _Address = None,
    as_json: _Json = False,
) -> None:
    """Say how far a group is behind the ends of the streams it reads."""
    place = _open(settings, streams)
    committed = place.committed(group, place.names())
    ends = place.ends(sorted({partition.stream for partition in committed}))
    place.close()
    if not committed:
        raise StreamError(f"the group {group!r} has committed nothing in {place.address}")
    rows: list[dict[str, Any]] = [
        {
            "stream": partition.stream,
            "partition": partition.number,
            "committed": offset,
            "end": ends[partition],
            "lag": ends[partition] - offset,
        }
        for partition, offset in sorted(committed.items())
    ]
    print_rows(rows, as_json=as_json, empty="")


@app.command()
def mend(
    name: Annotated[str, typer.Argument(help="The stream.")],
    settings: _SettingsFile = None,
    streams: _Address = None,
    as_json: _Json = False,
) -> None:
    """Put a damaged stream of `sqlite:` together anew from what can be saved, while nobody uses it.

    Every message that is whole keeps its offset. The damaged file is kept beside the new one, as NAME.db.damaged-1.
    """
    from birdwatch.streams.salvage import mend as put_together  # noqa: PLC0415

    address = load_settings(settings, streams=streams).streams
    if not address.startswith("sqlite:"):
        raise StreamError(f"{address} is not mended here: only a folder of sqlite: is")
    path = Path(address.removeprefix("sqlite:").partition("?")[0]).expanduser() / f"{name}.db"
    if not path.exists():
        raise StreamError(f"there is no {path}")
    found = put_together(path)
    if as_json:
        typer.echo(json.dumps({"saved": found.saved, "missing": found.missing, "kept": str(found.kept)}))
        return
    typer.echo(f"{found.saved:,} messages saved; the damaged file is kept as {found.kept}")
    for first, end in found.missing:
        typer.echo(f"missing: {f'the offset {first}' if end == first + 1 else f'the offsets {first} to {end - 1}'}")


def known(place: "Streams", names: Sequence[str] | None) -> list[str]:
    """Give the streams to work on, all by default.

    Raises
    ------
    StreamError
        One that is named does not exist, or there are none at all.
    """
    there = place.names()
    for name in names or ():
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there) or 'none'}"
            raise StreamError(f"there is no stream {name!r} in {place.address}: {hint}")
    if not there:
        raise StreamError(f"there are no streams in {place.address}")
    return list(names) if names else there


def utc(ts: float) -> str:
    """Write event time for people.

    >>> utc(1368532800.0)
    '2013-05-14 12:00:00'
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%S}"


def _open(settings: Path | None, address: str | None) -> "Streams":
    from birdwatch.streams import open_streams  # noqa: PLC0415

    return open_streams(load_settings(settings, streams=address).streams)


def _refuse_nonsense(name: str, ways: dict[str, Any], of_letters: dict[str, Any]) -> None:
    if all(value is not None for value in ways.values()):
        raise typer.BadParameter(f"give {' or '.join(ways)}, not both")
    said = [option for option, value in of_letters.items() if value is not None]
    if said and name != "deadletters":
        raise typer.BadParameter(f"{said[0]} is for deadletters, not for {name!r}")


def _chosen(reason: str | None, stream: str | None) -> "Callable[[DeadLetter], bool] | None":
    if reason is None and stream is None:
        return None
    return lambda letter: (reason is None or reason in letter.reason) and stream in {None, letter.stream}


def _is_chosen(message: "Message", chosen: "Callable[[DeadLetter], bool]") -> bool:
    from birdwatch.records import decode  # noqa: PLC0415
    from birdwatch.streams.deadletters import DeadLetter  # noqa: PLC0415

    try:
        return chosen(decode(message.value, DeadLetter))
    except RecordError:
        return False


def _requeue(
    place: "Streams", begin: "Positions | None", chosen: "Callable[[DeadLetter], bool] | None", *, as_json: bool
) -> None:
    from birdwatch.streams.requeue import requeue  # noqa: PLC0415

    fates: Counter[str] = Counter()
    back: Counter[str] = Counter()
    for each in requeue(place, begin=begin, chosen=chosen):
        fates[each.fate] += 1
        if each.letter is not None and each.fate == "put back":
            back[each.letter.stream] += 1
        if as_json:
            typer.echo(_fate_as_json(each))
        elif each.fate == "lost":
            what = f" ({each.letter.where})" if each.letter is not None else ""
            typer.echo(f"deadletters/{each.partition}@{each.offset}{what} is not put back: {each.why}")
    if as_json:
        return
    said = [f"{count:,} on {stream}" for stream, count in sorted(back.items())]
    said = [f"put back: {', '.join(said) or 'none'}"]
    said += [f"{fate}: {fates[fate]:,}" for fate in ("put back already", "not chosen", "lost") if fates[fate]]
    typer.echo("; ".join(said))


def _fate_as_json(each: "Letter") -> str:
    import msgspec  # noqa: PLC0415

    said: dict[str, Any] = {"partition": each.partition, "offset": each.offset, "fate": each.fate, "why": each.why}
    if each.letter is not None:
        said["of"] = {"stream": each.letter.stream, "partition": each.letter.partition, "offset": each.letter.offset}
    return msgspec.json.encode(said).decode()


def _messages(
    place: "Streams", name: str, begin: "Positions", ends: "Positions", *, follow: bool
) -> "Iterator[Message]":
    from birdwatch.streams.stretch import read_until  # noqa: PLC0415

    reader = place.reader([name])
    reader.seek(begin)
    try:
        while follow:
            yield from reader.poll()
        for messages in read_until(reader, begin, ends):
            yield from messages
    finally:
        reader.close()


def _as_text(message: "Message") -> Iterator[str]:
    from birdwatch.records import decode  # noqa: PLC0415
    from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter  # noqa: PLC0415

    if message.stream == DEADLETTERS:
        try:
            letter = decode(message.value, DeadLetter)
        except RecordError:
            pass  # somebody else's dead letter: as it lies
        else:
            cut = f" ({letter.length:,} bytes)" if len(letter.raw) < letter.length else ""
            yield f"{utc(letter.ts)}  {letter.where}  {letter.reason}  {letter.value}{cut}"
            return
    for value in _rows(message.value):
        yield value.decode(errors="backslashreplace")


def _as_json(message: "Message") -> Iterator[str]:
    import base64  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from birdwatch.records import UNREADABLE  # noqa: PLC0415

    place = {"stream": message.stream, "partition": message.partition, "offset": message.offset}
    for value in _rows(message.value):
        said: dict[str, Any]
        try:
            msgspec.json.decode(value)
            said = {"value": msgspec.Raw(value)}
        except UNREADABLE:
            said = {"base64": base64.b64encode(value).decode()}
        key = message.key.decode(errors="backslashreplace")
        yield msgspec.json.encode({**place, "key": key, **said}).decode()


def _rows(value: bytes) -> list[bytes]:
    """Give a message as lines: a table's rows as JSON objects, anything else, a damaged table too, as it lies."""
    import msgspec  # noqa: PLC0415

    from birdwatch.errors import RecordError  # noqa: PLC0415
    from birdwatch.streams.arrow import is_arrow, read_rows  # noqa: PLC0415

    if not is_arrow(value):
        return [value]
    try:
        return [msgspec.json.encode(row, enc_hook=str) for row in read_rows(value)]
    except RecordError:
        return [value]


def print_rows(rows: list[dict[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows as a table, or as JSON."""
    import msgspec  # noqa: PLC0415
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    elif not rows:
        typer.echo(empty)
    else:
        table = Table(box=box.SIMPLE)
        for column, value in rows[0].items():
            table.add_column(column, justify="left" if isinstance(value, str) else "right")
        for row in rows:
            table.add_row(*(value if isinstance(value, str) else f"{value:,}" for value in row.values()))
        Console().print(table)
