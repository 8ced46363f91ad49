"""``birdwatch reference``: freeze a stretch of what was counted, and look at what is frozen."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.counted import counted
from birdwatch.cli.options import SettingsFile, StoreFile
from birdwatch.config import Settings, load_settings
from birdwatch.errors import ReferenceMissingError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from birdwatch.detect.reference import Reference
    from birdwatch.detect.rules import RuleSet

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_NUMBERS = ("blocks", "n", "mean", "sd", "p50", "p90", "p99")
_MOST_SHOWN: Final = 3
_RulesFolder = Annotated[
    Path | None,
    typer.Option("--rules", help="Whose tolerances; the rules of the settings, or the starter set, by default."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def freeze(
    out: Annotated[Path, typer.Option(help="The file to write; a name that ends in .gz is compressed.")],
    settings: SettingsFile = None,
    store: StoreFile = None,
    streams: Annotated[
        str | None,
        typer.Option(
            help="Recorded streams in place of a store, `files:DIR` or `archive:DIR`: they are counted first."
        ),
    ] = None,
    rules: _RulesFolder = None,
    since: Annotated[
        str | None, typer.Option(help="From here: a date or time (UTC), or Unix seconds; the first pane by default.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to here; the last pane by default.")] = None,
    block: Annotated[str, typer.Option(help="The window of the rules that will use it.")] = "1d",
    name: Annotated[str | None, typer.Option(help="What rules call it; the file's name by default.")] = None,
    as_json: _Json = False,
) -> None:
    """Freeze a stretch of a store, or of recorded streams, as a reference, in whole blocks that begin where windows begin.

    Windows in which a model was found bad, and what rolled-back versions did, are left out. What the rules learn from it
    is frozen with it.
    """
    from birdwatch.detect.duration import parse_duration, say_moment  # noqa: PLC0415 - help should not wait for the work
    from birdwatch.detect.frozen import from_document, save  # noqa: PLC0415
    from birdwatch.detect.sourcing import freeze as freeze_store  # noqa: PLC0415
    from birdwatch.streams import is_recorded  # noqa: PLC0415

    chosen = load_settings(settings, store=store, rules=rules)
    learning = _rules_of(chosen).rules
    if streams is not None and not is_recorded(streams):
        raise SettingsError(
            f"--streams {streams!r} are not recorded: write `files:DIR` or `archive:DIR`, or let `birdwatch tail` count them and freeze"
            " its --store"
        )
    with counted(chosen, streams) as kept:
        closed = kept.closed_range()
        if closed is None:
            raise ReferenceMissingError(
                f"{streams or chosen.store} holds no closed pane yet: there is nothing to freeze"
            )
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
        document = freeze_store(kept, begin, end, length, name=name or _stem(out), scale=chosen.scale, rules=learning)
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
    settings: SettingsFile = None,
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
    settings: SettingsFile = None,
    rules: _RulesFolder = None,
    as_json: _Json = False,
) -> None:
    """Show what a frozen reference holds: for each model its scores, for each pair its differences.

    And the tolerances that it teaches the rules: those frozen with it, else those that they would learn from it now.
    """
    from birdwatch.detect.frozen import learn, load  # noqa: PLC0415

    reference = load(file)
    learned = learn(reference, _rules_of(load_settings(settings, rules=rules)).rules)
    summary = _summary(reference, file) | {
        "tolerances": [
            {
                "rule": lesson.rule,
                "of": " - ".join(
                    filter(None, (lesson.subject.model or lesson.subject.feature, lesson.subject.partner))
                ),
                "at": lesson.at,
                "frozen": lesson in reference.lessons,
                "learned": dict(reference.lessons.get(lesson, taught)),
            }
            for lesson, taught in sorted({**learned, **reference.lessons}.items(), key=str)
        ]
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(f"{summary['name']}: {summary['since_utc']} to {summary['until_utc']} (UTC)")
    rows = [
        (s["of"], str(s["blocks"]), f"{s['n']:,}", *(f"{s[k]:.3g}" for k in ("mean", "sd", "p50", "p90", "p99")))
        for s in summary["series"]
    ]
    _print_table(["of", *_NUMBERS], rows)
    _print_tolerances(summary["tolerances"])


@app.command()
def retire(
    file: Annotated[Path, typer.Argument(help="A frozen reference.")],
    reason: Annotated[str, typer.Option(help="Why; rules that still compare with it say so.")],
) -> None:
    """Take a frozen reference out of use, at once: rules that name it cannot judge until they name another."""
    from birdwatch.detect.frozen import load, read, save  # noqa: PLC0415
    from birdwatch.detect.frozen import retire as retired  # noqa: PLC0415

    load(file)
    save(retired(read(file), reason), file)
    typer.echo(f"{file} is retired: {reason}")


def _rules_of(settings: Settings) -> "RuleSet":
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415

    return load_rules(settings.rules or content("detectors"))


def _print_tolerances(rows: list[dict[str, Any]]) -> None:
    """Print what is in order by rule and model; all numbers stand in the JSON."""
    from birdwatch.detect.duration import say_duration  # noqa: PLC0415

    shown = [
        (
            row["rule"],
            row["of"] or "the fleet",
            "" if row["at"] is None else f"at {say_duration(row['at'])}",
            _in_order(row["learned"]),
            "frozen" if row["frozen"] else "learned now",
        )
        for row in rows
    ]
    if shown:
        _print_table(["rule", "of", "hour", "in order", "known"], shown)


def _in_order(learned: dict[str, float]) -> str:
    """Say the first tolerances: a rule that looks at many cuts has one for each."""
    found = [f"{name} {value:.3g}" for name, value in learned.items() if "tolerance" in name]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more or f"none: {learned.get('blocks', 0):g} blocks are too few"


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
