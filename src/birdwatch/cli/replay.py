"""``birdwatch replay``: put recorded streams, or an archive, back on streams."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from birdwatch.streams.replay import Recorded

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def replay(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="An archive, or a folder of recorded streams, one file each.")
    ],
    to: Annotated[str, typer.Option("--to", help="Where to: sqlite:DIR, kafka://HOST:PORT or files:DIR.")],
    speed: Annotated[
        str, typer.Option(help="Event time over wall time, such as 60x; max does not wait at all.")
    ] = "max",
    stream: Annotated[
        list[str] | None, typer.Option(help="Replay only this stream; may be given many times. All by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Append recorded streams, or those of an archive, to others, merged in order of event time, byte for byte.

    What cannot be read goes along, for its readers to put among the dead letters. A file that is damaged is replayed
    as far as it can be read; the others go on, and the exit code is 2.
    """
    # Help should not wait for what only the work needs.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from birdwatch.cli.streams import known, utc  # noqa: PLC0415
    from birdwatch.streams import open_recorded, open_streams  # noqa: PLC0415
    from birdwatch.streams.files import FileStreams  # noqa: PLC0415
    from birdwatch.streams.replay import append, merge, pace, parse_speed  # noqa: PLC0415

    factor = parse_speed(speed)
    if not folder.is_dir():
        raise StreamError(f"{folder} is not a folder: give the one that the recorded streams lie in")
    recorded, target = open_recorded(folder), open_streams(to)
    names = known(recorded, stream)
    if isinstance(target, FileStreams) and target.folder.resolve() == folder.resolve():
        raise StreamError(f"{folder} would be replayed into itself, without an end: give another --to")
    tally = _Tally(messages=dict.fromkeys(names, 0))
    faults: list[StreamError] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        bar = progress.add_task("replaying", total=None if progress.disable else sum(recorded.ends(names).values()))
        for batch in pace(merge(recorded, names, on_fault=faults.append), factor):
            append(target, batch)
            tally.add(batch)
            progress.update(bar, advance=len(batch), description=utc(tally.last) if tally.last else "replaying")
    target.close()
    tally.print(target.address, as_json=as_json)
    if faults:
        raise StreamError("\n".join(map(str, faults)))


@dataclass
class _Tally:
    """What has been replayed so far."""

    messages: dict[str, int]
    undated: int = 0
    first: float | None = None
    last: float | None = None

    def add(self, batch: "Iterable[Recorded]") -> None:
        for record in batch:
            self.messages[record.message.stream] += 1
            if record.dated:
                self.first = record.ts if self.first is None else self.first
                self.last = record.ts
            else:
                self.undated += 1

    def print(self, address: str, *, as_json: bool) -> None:
        import json  # noqa: PLC0415

        from birdwatch.cli.streams import utc  # noqa: PLC0415

        if as_json:
            typer.echo(json.dumps({"to": address, **asdict(self)}))
            return
        for name, count in self.messages.items():
            typer.echo(f"{name}: {count:,} messages")
        if self.undated:
            typer.echo(f"{self.undated:,} of them say no event time: they went along with those around them")
        if self.first is not None and self.last is not None:
            typer.echo(f"event time {utc(self.first)} to {utc(self.last)}, now in {address}")
