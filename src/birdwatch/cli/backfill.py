"""``birdwatch evaluate backfill``: what a model would have said to the requests of the past."""

import json
import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from birdwatch.cli.options import AllowPickle, Artifact, BatchSize, FactoryOptions, ModelSeconds, ModelTarget
from birdwatch.errors import SettingsError
from birdwatch.signals import until_signalled

if TYPE_CHECKING:
    from birdwatch.serving.runner.backfill import Backfill
    from birdwatch.serving.runner.filled import Filled
    from birdwatch.streams import Streams

__all__ = ["backfill"]

_ARCHIVE: Final = "archive:"


def backfill(
    model: Annotated[str, typer.Argument(help="The name under which it scores.")],
    target: ModelTarget,
    from_: Annotated[
        str,
        typer.Option(
            "--from", help="Where the requests lie: an archive, a folder, a file of JSON lines, or an address."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="Where the scores go: the folder of an archive, the same one for instance, or an address such as files:DIR."
        ),
    ],
    version: Annotated[str, typer.Option(help="The version that the scores name.")] = "1",
    artifact: Artifact = None,
    options: FactoryOptions = "{}",
    since: Annotated[str | None, typer.Option(help="Only requests from then on: 2026-11-01T08:00 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Only requests before then.")] = None,
    batch: BatchSize = 64,
    timeout_seconds: ModelSeconds = 10.0,
    allow_pickle: AllowPickle = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Score requests of the past with a candidate, exactly as they were seen, as its runner would have.

    Scores bear the event times of their requests, and no durations: nobody waited for them. Killed and started again, it goes
    on, and each request is scored once. Errors of the model are scores with an error, as a runner writes them.
    """
    from birdwatch.cli.values import json_object  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.serving.runner.backfill import Backfill  # noqa: PLC0415
    from birdwatch.serving.runner.model import Spec  # noqa: PLC0415

    spec = Spec(version, target, artifact, json_object(options, "--options"))
    low, high = _moment("--since", since, -math.inf), _moment("--until", until, math.inf)
    with until_signalled() as stopping, ExitStack() as held:
        place, stream = _source(from_, low, high)
        held.enter_context(closing(place))
        made = Backfill(
            place,
            _destination(to, model, version, held),
            model,
            spec,
            stream=stream,
            since=low,
            until=high,
            batch=batch,
            timeout_seconds=timeout_seconds,
            allow_pickle=allow_pickle,
        )
        _run(made, stopping)
        _say(made, to, as_json=as_json)


def _source(text: str, since: float, until: float) -> "tuple[Streams, str]":
    """Open what the requests lie in; of an archive, only the days that matter.

    Raises
    ------
    StreamError
        There are no requests in it.
    """
    from birdwatch.archive.narrowing import day_of  # noqa: PLC0415
    from birdwatch.cli.streams import known  # noqa: PLC0415
    from birdwatch.streams import open_recorded, open_streams  # noqa: PLC0415
    from birdwatch.streams.archived import ArchiveStreams  # noqa: PLC0415
    from birdwatch.streams.formats import SUFFIXES  # noqa: PLC0415
    from birdwatch.streams.parquet import EVERY_DAY, Days  # noqa: PLC0415

    path, stream = Path(text).expanduser(), "requests"
    if path.is_file():
        suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), "")
        if not suffix.startswith(".jsonl"):
            raise SettingsError(f"--from {text}: requests are read from files of JSON lines, .jsonl or .jsonl.gz")
        place, stream = open_streams(f"files:{path.parent}"), path.name.removesuffix(suffix)
    elif path.is_dir():
        place = open_recorded(path)
    elif ":" in text:
        place = open_streams(text)
    else:
        raise SettingsError(f"--from {text}: there is no such file or folder, and it is no address")
    if isinstance(place, ArchiveStreams):
        days = Days(
            EVERY_DAY.since if math.isinf(since) else day_of(since, -1),
            EVERY_DAY.until if math.isinf(until) else day_of(until, 1),
        )
        place = ArchiveStreams(place.address, days=days)
    known(place, [stream])
    return place, stream


def _destination(text: str, model: str, version: str, held: ExitStack) -> "Filled":
    from birdwatch.serving.runner.filled import InArchive, OnStreams  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    if text.startswith(_ARCHIVE) or ":" not in text:
        return InArchive(Path(text.removeprefix(_ARCHIVE)).expanduser(), model, version)
    return OnStreams(held.enter_context(closing(open_streams(text))), model, version)


def _moment(option: str, text: str | None, otherwise: float) -> float:
    from birdwatch.detect.duration import parse_moment  # noqa: PLC0415

    try:
        return otherwise if text is None else parse_moment(text)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from error


def _run(made: "Backfill", stopping: Callable[[], bool]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        bar = progress.add_task(f"scoring as {made.model}", total=None if progress.disable else made.left())
        made.run(stopping, lambda read: progress.update(bar, advance=read))


def _say(made: "Backfill", to: str, *, as_json: bool) -> None:
    counts = {name: made.counts[name] for name in ("scores", "errors", "before", "dead_letters")}
    if as_json:
        more = {"first_error": made.first_error or None, "first_dead_letter": made.first_letter or None}
        typer.echo(json.dumps({"to": to, "model": made.model, "version": made.spec.version, **counts, **more}))
        return
    typer.echo(f"{counts['scores']:,} requests scored as {made.model} {made.spec.version}, in {to}")
    if counts["errors"]:
        typer.echo(f"{counts['errors']:,} got an error; the first: {made.first_error}")
    if counts["before"]:
        typer.echo(f"{counts['before']:,} had a score of this version there before: another --version scores them anew")
    if counts["dead_letters"]:
        typer.echo(f"{counts['dead_letters']:,} messages could not be read; the first: {made.first_letter}")
