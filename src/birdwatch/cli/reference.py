"""``birdwatch reference``: freeze a stretch of what was counted, and look at what is frozen."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.config import load_settings
from birdwatch.errors import ReferenceMissingError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from birdwatch.detect.reference import Reference

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A YAML file of settings; ./birdwatch.yaml by default.")
]
_NUMBERS = ("blocks", "n", "mean", "sd", "p50", "p90", "p99")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def freeze(
    out: Annotated[Path, typer.Option(help="The file to write; a name that ends in .gz is compressed.")],
    settings: _SettingsFile = None,
    store: Annotated[Path | None, typer.Option(help="The file with panes, verdicts and alerts.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From here: a date or time (UTC), or Unix seconds; the first pane by default.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to here; the last pane by default.")] = None,
    block: Annotated[str, typer.Option(help="The window of the rules that will use it.")] = "1d",
    name: Annotated[str | None, typer.Option(help="What rules call it; the file's name by default.")] = None,
    as_json: _Json = False,
) -> None:
    """Freeze a stretch of a store as a reference, in whole blocks that begin where windows begin.

    Windows in which a model was found bad, and what rolled-back versions did, are left out.
    """
    from birdwatch.detect.duration import parse_duration, say_moment  # noqa: PLC0415 - help should not wait for the work
    from birdwatch.detect.frozen import from_document, save  # noqa: PLC0415
    from birdwatch.detect.sourcing import freeze as freeze_store  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    chosen = load_settings(settings, store=store)
    kept = Store(chosen.store, readonly=True)
    try:
        closed = kept.closed_range()
        if closed is None:
            raise ReferenceMissingError(f"{chosen.store} holds no closed pane yet: there is nothing to freeze")
        try:
            length = int(parse_duration(block))
        except ValueError as error:
            raise SettingsError(f"--block: {error}") from error
        first = _moment("--since", since, closed[0])
        last = _moment("--until", until, closed[1])
        offset = chosen.windows_start_seconds
        begin = -(-(first - offset) // length) * length + offset
        end = (last - offset) // length * length + offset
        if end <= begin:
            raise ReferenceMissingError(
                f"there is no whole block of {block} from {say_moment(first)} to {say_moment(last)}: choose a longer stretch, or"
                " a shorter --block"
            )
        document = freeze_store(kept, begin, end, length, name=name or _stem(out), scale=chosen.scale)
    finally:
        kept.close()
    save(document, out)
    if as_json:
        typer.echo(json.dumps(_summary(from_document(document, str(out)), out)))
    else:
        scores = ", ".join(f"{model} {n:,}" for model, n in document["events"].items())
        typer.echo(
            f"{out}: {len(document['blocks'])} blocks of {block} from {say_moment(begin)} to {say_moment(end)}; scores: {scores}"
        )


@app.command("list")
def list_(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files, or folders of them; those of the settings by default.")
    ] = None,
    settings: _SettingsFile = None,
    as_json: _Json = False,
) -> None:
    """List frozen references."""
    from birdwatch.detect.duration import say_duration, say_moment  # noqa: PLC0415
    from birdwatch.detect.frozen import load  # noqa: PLC0415

    given = paths or list(load_settings(settings).references)
    files = [f for p in given for f in ([p] if p.is_file() or not p.is_dir() else _references_in(p))]
    found = [(file, load(file)) for file in files]
    if as_json:
        typer.echo(json.dumps([_summary(reference, file) for file, reference in found]))
    elif not found:
        typer.echo("no references: make one with `birdwatch reference freeze`")
    else:
        rows = [
            (
                str(f),
                r.name,
                say_moment(r.since),
                say_moment(r.until),
                f"{len(r.blocks)} of {say_duration(r.block_seconds)}",
            )
            for f, r in found
        ]
        _print_table(["file", "name", "from (UTC)", "until", "blocks"], rows)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A frozen reference.")],
    as_json: _Json = False,
) -> None:
    """Show what a frozen reference holds: for each model its scores, for each pair its differences."""
    from birdwatch.detect.frozen import load  # noqa: PLC0415

    summary = _summary(load(file), file)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(f"{summary['name']}: {summary['since_utc']} to {summary['until_utc']} (UTC)")
    rows = [
        (s["of"], str(s["blocks"]), f"{s['n']:,}", *(f"{s[k]:.3g}" for k in ("mean", "sd", "p50", "p90", "p99")))
        for s in summary["series"]
    ]
    _print_table(["of", *_NUMBERS], rows)


def _summary(reference: "Reference", file: Path) -> dict[str, Any]:
    """Describe a reference; differences are counted on the real grid, scores on that of the reference."""
    from birdwatch.detect.duration import say_moment  # noqa: PLC0415
    from birdwatch.stats.quantiles import moments, quantiles, size  # noqa: PLC0415
    from birdwatch.windows.pane import total  # noqa: PLC0415

    series: list[dict[str, Any]] = []
    for measure, model, partner in reference.measured():
        blocks = reference.counts(measure, model, partner)
        if measure in ("score", "difference"):
            whole, on = total(blocks), reference.scale if measure == "score" else "real"
            mean, sd = moments(whole, on)
            at = dict(zip(("p50", "p90", "p99"), quantiles(whole, (0.5, 0.9, 0.99), on), strict=True))
            of = f"{model} - {partner}" if partner else model
            series.append(
                {"of": of, "blocks": len(blocks), "n": size(whole), "mean": mean, "sd": sd}
                | {name: found.value for name, found in at.items()}
            )
    return {
        "file": str(file),
        "name": reference.name,
        "since": reference.since,
        "until": reference.until,
        "since_utc": say_moment(reference.since),
        "until_utc": say_moment(reference.until),
        "block_seconds": reference.block_seconds,
        "blocks": len(reference.blocks),
        "series": series,
    }


def _moment(option: str, text: str | None, default: int) -> int:
    from birdwatch.detect.duration import parse_moment  # noqa: PLC0415

    if text is None:
        return default
    try:
        return int(parse_moment(text))
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from error


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".json")


def _references_in(folder: Path) -> list[Path]:
    return sorted(f for pattern in ("*.json", "*.json.gz") for f in folder.glob(pattern))


def _print_table(columns: list[str], rows: "Iterable[Sequence[str]]") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
