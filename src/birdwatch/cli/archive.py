"""``birdwatch archive``: keep streams as Parquet, and look after what is kept."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.cli.options import HealthHost, HealthPort, SettingsFile
from birdwatch.errors import SettingsError
from birdwatch.signals import until_signalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from birdwatch.archive.archiver import Archiver
    from birdwatch.archive.redaction import Redaction
    from birdwatch.config import Settings

__all__ = ["app", "redactions_of"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Keep streams as Parquet, and look after them.",
)

_Archive = Annotated[Path, typer.Argument(help="The archive.", exists=True, file_okay=False)]
_Streams = Annotated[
    list[str] | None, typer.Option("--stream", help="Only this stream; may be given many times. All by default.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _root() -> None:
    """Keep streams as Parquet, and look after what is kept."""


@app.command()
def write(
    to: Annotated[Path, typer.Option("--to", help="The folder in which the archive lies.")],
    streams: Annotated[
        list[str] | None, typer.Argument(metavar="STREAM...", help="Which; all there are by default.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Where the streams live; by default the settings say.")
    ] = None,
    settings: SettingsFile = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all that the streams hold is archived.")] = False,
    group: Annotated[str, typer.Option(help="The consumer group by which its lag is seen.")] = "archive",
    flush_count: Annotated[int, typer.Option(min=1, help="Write files when so many messages are waiting.")] = 10_000,
    flush_seconds: Annotated[
        float, typer.Option(min=0.1, help="Write files when the first message has waited so long.")
    ] = 60.0,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="With --once, print the counts as JSON.")] = False,
) -> None:
    """Archive streams as they are, each message exactly once. Ends on SIGTERM, or with --once.

    Killed at any moment and started again, it goes on after what the names of the files say. The setting `archive` says
    what is left out of a stream's records, or replaced by a keyed hash.
    """
    from birdwatch.archive.archiver import Archiver  # noqa: PLC0415 - help should not wait for pyarrow
    from birdwatch.cli.streams import known  # noqa: PLC0415
    from birdwatch.config import load_settings  # noqa: PLC0415
    from birdwatch.streams import is_recorded, open_streams  # noqa: PLC0415

    if as_json and not once:
        raise SettingsError("--json prints what was archived at the end: give --once too")
    chosen = load_settings(settings, streams=from_)
    redactions = redactions_of(chosen)
    with until_signalled() as stopping, closing(open_streams(chosen.streams)) as place:
        # A stream that is named may appear later.
        names = list(dict.fromkeys(streams)) if streams and not once else known(place, streams or None)
        archiver = Archiver(
            place,
            names,
            to,
            group=None if is_recorded(chosen.streams) else group,
            redactions=redactions,
            flush_count=flush_count,
            flush_seconds=flush_seconds,
        )
        with closing(archiver):
            if once:
                _to_the_end(archiver, stopping)
                _say_archived(archiver, names, to, as_json=as_json)
            else:
                _follow(archiver, stopping, health_port, health_host)


def _follow(archiver: "Archiver", stopping: "Callable[[], bool]", port: int | None, host: str) -> None:
    from birdwatch.health import Health  # noqa: PLC0415

    def counts() -> Counter[tuple[str, str]]:
        return archiver.counts + Counter({("troubles", ""): archiver.trouble.times})

    with closing(Health(port, "archive", host)) as health:
        if health.port is not None:
            typer.echo(f"health on http://{host}:{health.port}")
        health.show(counts, trouble=lambda: archiver.trouble.reason, label="stream")
        typer.echo("ready")
        archiver.run(health.pulse.turning(stopping))


def _to_the_end(archiver: "Archiver", stopping: "Callable[[], bool]") -> None:
    from rich.console import Console  # noqa: PLC0415 - help should not wait for it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        bar = progress.add_task("archiving", total=None if progress.disable else archiver.left())
        archiver.run_once(stopping, lambda read: progress.update(bar, advance=read))


def _say_archived(archiver: "Archiver", names: Sequence[str], to: Path, *, as_json: bool) -> None:
    counts = archiver.counts
    if as_json:
        found: dict[str, Any] = {
            what: {name: counts[what, name] for name in names} for what in ("messages", "withheld")
        }
        typer.echo(json.dumps({"to": str(to), **found}))
        return
    for name in names:
        withheld = counts["withheld", name]
        more = f", {withheld:,} of them without their bytes: they are no JSON objects" if withheld else ""
        typer.echo(f"{name}: {counts['messages', name]:,} messages archived in {to / name}{more}")


def redactions_of(settings: "Settings") -> "dict[str, Redaction]":
    """Give what is left out, by stream.

    Raises
    ------
    SettingsError
        There is no key for what is to be hashed.
    """
    from birdwatch.archive.redaction import Redaction, read_key  # noqa: PLC0415

    kept = settings.archive
    key = read_key(settings.archive_key_file) if any(one.hash for one in kept.values()) else b""
    return {name: Redaction(only=one.only, drop=one.drop, hashed=one.hash, key=key) for name, one in kept.items()}


@app.command("verify")
def verify_(
    directory: Annotated[Path, typer.Argument(help="The archive, or a part of it.", exists=True, file_okay=False)],
    put_aside: Annotated[
        bool, typer.Option("--put-aside", help="Rename damaged files: their offsets are archived again.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Read every byte of an archive and name the files that are damaged; exit 1 if there are any.

    Nothing is deleted: a file that is put aside gets a name like `_NAME.parquet.damaged`. The next start of `birdwatch archive
    write` (or of `birdwatch serve decoy`) archives again what only such files hold, as far as the log still has it.
    """
    from birdwatch.archive import verify as verifying  # noqa: PLC0415 - help should not wait for pyarrow

    found = []
    for path, reason in verifying.verify(directory):
        aside = str(verifying.put_aside(path)) if put_aside else None
        found.append({"path": str(path), "reason": reason, "put_aside": aside})
        if not as_json:
            typer.echo(f"{path}: {reason}{f'; it is kept as {aside}' if aside else ''}")
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("nothing is damaged")
    raise typer.Exit(1 if found else 0)


@app.command("list")
def list_(directory: _Archive, as_json: _Json = False) -> None:
    """List the streams of an archive, with their days, rows, files and bytes."""
    from birdwatch.archive.reader import Records  # noqa: PLC0415 - help should not wait for pyarrow and pandas
    from birdwatch.cli.streams import print_rows  # noqa: PLC0415

    there = Records(directory).summary()
    rows: list[dict[str, Any]] = [
        {
            "stream": str(stream),
            "first day": of["day"].min(),
            "last day": of["day"].max(),
            "partitions": int(of["partition"].nunique()),
            **{name: int(of[name].sum()) for name in ("rows", "files", "bytes", "damaged")},
        }
        for stream, of in there.groupby("stream", sort=True)
    ]
    print_rows(rows, as_json=as_json, empty=f"there are no streams in {directory}")


@app.command("compact")
def compact_(
    directory: _Archive,
    stream: _Streams = None,
    before: Annotated[str | None, typer.Option(help="Only days before this one, YYYY-MM-DD (UTC).")] = None,
    as_json: _Json = False,
) -> None:
    """Put the many small files of each day and partition together; archiving and reading may go on meanwhile.

    Killed at any moment, every message is still there, and read once. What is left alone is named, and the exit code is 1.
    """
    from birdwatch.archive.compact import compact  # noqa: PLC0415 - help should not wait for pyarrow

    found, left = [], False
    for one in compact(directory, _chosen(directory, stream), before_day=_day(before) if before else "9999"):
        left = left or one.path is None
        found.append(one._asdict() | {"path": None if one.path is None else str(one.path)})
        if as_json:
            continue
        if one.path is None:
            typer.echo(f"{one.stream}, {one.day}, partition {one.partition}: left in {one.files} files, for {one.why}")
        else:
            typer.echo(f"{one.path}: {one.rows:,} rows of {one.files} files")
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("there is one file a day and partition")
    raise typer.Exit(1 if left else 0)


@app.command("expire")
def expire_(
    directory: _Archive,
    keep_days: Annotated[int | None, typer.Option(min=0, help="Keep so many days before today (UTC).")] = None,
    before: Annotated[str | None, typer.Option(help="Delete days before this one, YYYY-MM-DD (UTC).")] = None,
    stream: _Streams = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: _Json = False,
) -> None:
    """Delete the days of event time that are too old, damaged files too.

    Of each partition the file with the highest offset stays, whatever its day: its name tells where archiving goes on.
    """
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    from birdwatch.archive.compact import expire  # noqa: PLC0415 - help should not wait for pyarrow

    if (keep_days is None) == (before is None):
        raise SettingsError("say what expires: give --keep-days or --before, one of them")
    day = _day(before) if before else f"{datetime.now(UTC) - timedelta(days=keep_days or 0):%Y-%m-%d}"
    found = list(expire(directory, _chosen(directory, stream), before_day=day, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps([{"path": str(f.file.path), "bytes": f.bytes, "kept": f.kept} for f in found]))
        return
    for one in found:
        if one.kept:
            typer.echo(f"{one.file.path} stays: its name tells where archiving goes on")
    gone = [one for one in found if not one.kept]
    would = "would be deleted" if dry_run else "deleted"
    typer.echo(f"{len(gone):,} files of days before {day} {would}, {sum(one.bytes for one in gone) / 1e6:,.1f} MB")


def _chosen(directory: Path, streams: list[str] | None) -> list[str]:
    from birdwatch.cli.streams import known  # noqa: PLC0415
    from birdwatch.streams.archived import ArchiveStreams  # noqa: PLC0415

    return known(ArchiveStreams(f"archive:{directory}"), streams)


def _day(text: str) -> str:
    from datetime import date  # noqa: PLC0415

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise SettingsError(f"{text!r} is no day: write YYYY-MM-DD") from None
