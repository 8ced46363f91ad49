"""``birdwatch evaluate``: what the records tell afterwards, one command a question."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.backfill import backfill
from birdwatch.cli.changed import changed
from birdwatch.cli.options import SettingsFile, StreamsPlace
from birdwatch.cli.printing import as_records, print_json, print_table
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command()(backfill)
app.command()(changed)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HOURS: Final = (1.0, 2.0, 4.0, 8.0, 24.0)
_MOST_SHOWN: Final = 10


@app.command()
def value(
    policy: Annotated[
        list[str],
        typer.Option(help="Whose value: a model that always answers, or MODEL=PROBABILITY, repeated for each model."),
    ],
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    reward: Annotated[str, typer.Option(help="What is earned: `reward` or `label`.")] = "reward",
    unrewarded: Annotated[
        float | None, typer.Option(help="The reward of a request without an outcome; by default it is left out.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="The largest weight of a decision.")] = None,
    lowest: Annotated[float, typer.Option(help="The least reward there can be.")] = 0.0,
    highest: Annotated[float, typer.Option(help="The largest reward there can be.")] = 1.0,
    as_json: _Json = False,
) -> None:
    """Estimate what another model or policy would have earned, from the logged propensities.

    Three estimators with normal intervals, and bounds that hold for any distribution. What the propensity did not draw,
    such as timeouts and overrides, is counted apart.
    """
    from birdwatch.evaluate.off_policy import off_policy_value  # noqa: PLC0415 - help should not wait for the work

    place = load_settings(settings, streams=streams).streams
    _check_field("--reward", reward)
    with _plainly():
        found = off_policy_value(
            _read(place, "metrics"),
            _read(place, "outcomes"),
            _policy(policy),
            reward=reward,
            unrewarded=unrewarded,
            clip=clip,
            span=(lowest, highest),
        )
    if as_json:
        rest = {name: x for name, x in found._asdict().items() if name not in ("estimates", "apart")}
        print_json({"estimates": as_records(found.estimates), "apart": as_records(found.apart), **rest})
        return
    print_table(found.estimates.reset_index())
    typer.echo(
        f"{found.n:,} decisions were drawn and have a reward, worth {found.effective:,.0f} drawn by the policy itself;"
        f" the largest 1 % of the weights hold {found.largest:.0%} of all, their mean is {found.mean_weight:.3g} (1 if the"
        " log covers the policy)"
    )
    if found.uncovered > 0:
        typer.echo(
            f"the policy would choose in {found.uncovered:.1%} of cases what the log could never draw: of these it says nothing"
        )
    if found.clipped:
        typer.echo(f"weights of {found.clipped:,} decisions were clipped")
    if found.without_reward:
        typer.echo(f"{found.without_reward:,} more were drawn and have no {reward}: they are left out")
    if len(found.apart):
        typer.echo("not drawn by the propensity, and kept apart:")
        print_table(found.apart.reset_index())


@app.command()
def deadline(
    seconds: Annotated[list[float], typer.Option("--deadline", help="A deadline to ask about; may be repeated.")],
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    model: Annotated[list[str] | None, typer.Option(help="Which models; all by default.")] = None,
    overhead_seconds: Annotated[
        float, typer.Option(help="What the way to the model and back takes, beside the time inside it.")
    ] = 0.0,
    as_json: _Json = False,
) -> None:
    """Estimate which share of requests each model would miss, if the deadline were another.

    Models that did not come in time took longer than that, nobody knows how much: the curves are Kaplan and Meier's.
    """
    import pandas as pd  # noqa: PLC0415

    from birdwatch.evaluate.deadline import fallback_rates, latencies  # noqa: PLC0415

    decisions = _read(load_settings(settings, streams=streams).streams, "metrics")
    names = model or sorted({m for column in ("scores", "missing") for each in decisions[column] for m in each or ()})
    tables, said = [], []
    for name in names:
        known = latencies(decisions, name, overhead_seconds=overhead_seconds)
        left_out = f"{name}: {known.failed:,} requests failed and {known.unmeasured:,} were not measured: left out"
        said += [left_out] if known.failed or known.unmeasured else []
        with _plainly(f"{name}: "):
            tables.append(fallback_rates(known.seconds, known.came, seconds).assign(model=name))
    if not tables:
        raise SettingsError("there are no decisions: name streams that have `metrics`")
    table = pd.concat(tables)[["model", "deadline_seconds", "rate", "low", "high", "n"]]
    if as_json:
        print_json({"rates": as_records(table), "left_out": said})
        return
    print_table(table)
    for line in said:
        typer.echo(line)


@app.command()
def leaks(
    table: Annotated[Path, typer.Argument(help="A training table, Parquet or CSV, with a column of request ids.")],
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    id_column: Annotated[str, typer.Option("--id", help="The column of request ids.")] = "request_id",
    label: Annotated[list[str] | None, typer.Option(help="A column that is meant to be the truth.")] = None,
    tolerance: Annotated[float, typer.Option(help="The share by which numbers may differ.", min=0.0)] = 1e-6,
    as_json: _Json = False,
) -> None:
    """Compare a training table with what the models saw. Exits 0 pass, 1 fail, 2 misuse, 3 inconclusive.

    It fails if a column differs from what was seen, or knows the future: it is the outcome, or tells it as nothing that
    was seen does. It is inconclusive if rows or columns could not be compared.
    """
    from rich.console import Console  # noqa: PLC0415

    from birdwatch.evaluate.leaks import find_leaks  # noqa: PLC0415

    place = load_settings(settings, streams=streams).streams
    outcomes = _read(place, "outcomes")
    with _plainly():
        found = find_leaks(
            _table(table),
            _read(place, "requests"),
            outcomes if len(outcomes) else None,
            id_column=id_column,
            labels=label or (),
            tolerance=tolerance,
        )
    answer = found.answer.name.lower()
    if as_json:
        counts = {name: getattr(found, name) for name in ("matched", "unmatched", "repeated")}
        print_json(
            {
                "answer": answer,
                "reason": found.reason,
                **counts,
                "columns": as_records(found.columns),
                "rows": as_records(found.rows),
            }
        )
    else:
        print_table(found.columns)
        if len(found.rows):
            typer.echo(f"the first of {len(found.rows):,} values that differ:")
            print_table(found.rows.head(_MOST_SHOWN))
        if found.repeated:
            typer.echo(f"{found.repeated:,} rows are of a request that has another row")
        style = {"pass": "green", "fail": "red", "inconclusive": "yellow"}[answer]
        Console().print(f"{answer.upper()}: {found.reason}", style=style, markup=False)
    raise typer.Exit(int(found.answer))


@app.command()
def audit(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Who must answer each request; whoever has a score by default.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Account for each request by model and hour: scored, failed, missing or pending; late, and scored twice.

    A model that was retired on the control stream is not missed from then on, until it is registered again.
    Printed are the hours in which something is wrong; in the JSON are all.
    """
    from birdwatch.evaluate.audit import audit as account  # noqa: PLC0415

    place = load_settings(settings, streams=streams).streams
    table = account(
        _read(place, "requests"), _read(place, "scores", "canary"), models=model, control=_read(place, "control")
    )
    whole = table.drop(columns="time").groupby("model", as_index=False).sum()
    if as_json:
        print_json({"models": as_records(whole), "hours": as_records(table), "strangers": table.attrs["strangers"]})
        return
    print_table(whole)
    wrong = table[(table[["failed", "missing", "late", "duplicates"]] > 0).any(axis=1)]
    if len(wrong):
        typer.echo("hours in which something is wrong:")
        print_table(wrong)
    if table.attrs["strangers"]:
        typer.echo(f"{table.attrs['strangers']:,} scores are of requests that are not there")


@app.command()
def quality(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    model: Annotated[list[str] | None, typer.Option(help="Which models; all by default.")] = None,
    hours: Annotated[
        list[float] | None, typer.Option("--delay-hours", help="Labels within so many hours; may be repeated.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Judge scores by the labels that came: AUC, Brier score and calibration, by how late the labels were.

    And say which labels are missing, where, and what they could make of the numbers, whatever they are.
    """
    from birdwatch.evaluate import quality as q  # noqa: PLC0415

    place = load_settings(settings, streams=streams).streams
    scores, outcomes = _read(place, "scores", "canary"), _read(place, "outcomes")
    delays = [3600 * h for h in (*(hours or _HOURS), float("inf"))]
    found: dict[str, Any] = {}
    for name in model or sorted(set(scores["model"])):
        rows = q.labelled(scores, outcomes, name)
        known = rows[rows["label"].notna()]
        if known.empty:
            raise SettingsError(
                f"{name}: none of its {len(rows):,} scores has a label: name streams that have outcomes"
            )
        bands, by_hour = q.missing_by(rows)
        with _plainly(f"{name}: "):
            found[name] = {
                "by_delay": q.by_delay(rows, delays),
                "brier": q.brier(known["label"], known["score"])._asdict(),
                "reliability": q.reliability(known["label"], known["score"]),
                "bounds": q.quality_bounds(rows).reset_index(names="of"),
                "missing_by_band": bands,
                "missing_by_hour": by_hour,
                "selection_p": q.selection_p(bands),
            }
    if as_json:
        print_json({name: {k: _json_of(part) for k, part in parts.items()} for name, parts in found.items()})
        return
    for name, parts in found.items():
        missing, of = parts["missing_by_band"][["missing", "n"]].sum()
        typer.echo(f"\n{name}, by the labels that came within:")
        print_table(parts["by_delay"])
        made = parts["brier"]
        typer.echo(
            f"Brier {made['score']:.4f} = miscalibration {made['miscalibration']:.4f} − discrimination"
            f" {made['discrimination']:.4f} + uncertainty {made['uncertainty']:.4f}; predicted and observed:"
        )
        print_table(parts["reliability"])
        p = parts["selection_p"]
        chosen = f"; they are not missing at random: by band of the score p = {p:.2g}" if p < 0.01 else ""
        typer.echo(f"{missing:,} of {of:,} scores have no label{chosen}. What they could make of it:")
        print_table(parts["bounds"])
        if missing:
            print_table(parts["missing_by_band"])


@app.command()
def rejected(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    field: Annotated[str, typer.Option(help="What is asked about: `label` or `reward`.")] = "label",
    as_json: _Json = False,
) -> None:
    """Estimate what would have come of what the model rejects, from what was accepted at random all the same.

    Each of those stands for 1/probability of all. Overrides are told beside: somebody chose them, so they stand for nobody.
    """
    from birdwatch.evaluate.reject import reject_inference  # noqa: PLC0415

    place = load_settings(settings, streams=streams).streams
    _check_field("--field", field)
    with _plainly():
        found = reject_inference(_read(place, "metrics"), _read(place, "outcomes"), field=field)
    if as_json:
        print_json({**found._asdict(), "bands": as_records(found.bands)})
        return
    print_table(found.bands)
    typer.echo(
        f"of what the model accepts: {found.accepted_rate:.4g}, by {found.accepted_labelled:,} with a {field}; rejected"
        f" and never accepted, so unknown: {found.never:,}; overridden, and kept apart: {found.overrides['n']:,.0f}"
    )


def _check_field(option: str, name: str) -> None:
    if name not in ("reward", "label"):
        raise SettingsError(f"{option} {name!r} is no field of an outcome: write reward or label")


def _read(place: str, *streams: str) -> "pd.DataFrame":
    from birdwatch.evaluate.reading import read_streams  # noqa: PLC0415

    return read_streams(place, streams)


def _table(path: Path) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415

    if path.suffix not in (".parquet", ".csv", ".gz"):
        raise SettingsError(f"{path} is no table that can be read: give .parquet, .csv or .csv.gz")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _policy(texts: list[str]) -> str | dict[str, float]:
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    try:
        return {name: float(share) for name, share in (text.rsplit("=", 1) for text in texts)}
    except ValueError as error:
        raise SettingsError(f"--policy {' '.join(texts)}: write one MODEL, or MODEL=PROBABILITY for each") from error


@contextmanager
def _plainly(where: str = "") -> Iterator[None]:
    """Let what cannot be computed from the data given end in one line, like all misuse."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{where}{error}") from error


def _json_of(part: Any) -> Any:
    return as_records(part) if hasattr(part, "to_json") else part
