"""``birdwatch deploy status`` and ``history``: where the fleet stands, and how it came there."""

from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.deploy.control import STREAMS, Ledgered, StreamsOption, opened, require_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from birdwatch.records import Control
    from birdwatch.serving.control.ledger import Entry
    from birdwatch.serving.control.schedule import Schedule

__all__ = ["history", "status"]

_LONGEST_WHY: Final = 60

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def status(streams: StreamsOption = STREAMS, as_json: _Json = False) -> None:
    """Show where each model stands, who answers when, and which rendezvous is in charge."""
    import msgspec  # noqa: PLC0415 - `--help` should not wait

    with opened(streams) as on:
        plan = require_fleet(on).schedule
        rows = _models(on)
        in_charge = on.ledger.in_charge
    if as_json:
        found = {"models": rows, "schedule": plan.model_dump(mode="json"), "rendezvous": in_charge}
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _print_models(rows)
        for line in _plan(plan, in_charge):
            typer.echo(line)


def _models(on: Ledgered) -> list[dict[str, Any]]:
    rows = []
    for standing in require_fleet(on).standing():
        last = on.ledger.last_of(standing.model)
        rows.append(
            {
                **standing._asdict(),
                "scores_as": on.heard.get(standing.model, []),
                "since": last and last.ts,
                "by": last and last.author,
                "why": last and last.reason,
            }
        )
    return rows


def _print_models(rows: list[dict[str, Any]]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        "model", "stage", "version", "guard", "since (UTC)", "by", "why", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    for column in table.columns[:5]:
        column.no_wrap = True
    for row in rows:
        stage = row["stage"] if row["percent"] is None else f"{row['stage']} {row['percent']:g} %"
        version = row["version"] or ", ".join(row["scores_as"]) or "–"
        guard = "held" if row["held"] else row["guard"] or ""
        # At a glance; the history has all of it.
        why = shorten(f"held: {row['held']}" if row["held"] else row["why"] or "–", _LONGEST_WHY, placeholder=" …")
        about = (row["model"], stage, version, guard, _utc(row["since"]), row["by"] or "–", why)
        table.add_row(*(Text(each) for each in about))
    Console().print(table)


def _plan(plan: "Schedule", in_charge: list[str]) -> "Iterator[str]":
    tiers = []
    for tier in plan.tiers:
        ramps = "".join(f", {model} for {percent:g} %" for model, percent in tier.ramps.items())
        policy = "" if len(tier.models) == 1 else f" ({tier.policy.kind})"
        when = f" after {tier.after_seconds:g} s" if tier.after_seconds else " at once"
        tiers.append(f"{', '.join(tier.models)}{policy}{ramps}{when}")
    closes = plan.deadline_seconds - plan.return_margin_seconds
    tiers.append(f"the default {plan.default:g} after {closes:g} s")
    yield f"schedule {plan.version}: {'; '.join(tiers)}"
    for rule in plan.overrides:
        yield f"override {rule.name}: {_when(rule.model_dump(mode='json'))}"
    if plan.acceptance is not None:
        accepts = "below" if plan.acceptance.accepts == "below" else "from"
        yield (
            f"accepted: {accepts} {plan.acceptance.threshold:g}"
            + (f", and {plan.acceptance.rate:.2%} of the others" if plan.acceptance.rate else "")
        )
    if plan.dithering is not None:
        yield f"rankings are dithered with epsilon {plan.dithering.epsilon:g}"
    yield f"in charge: {', '.join(in_charge)}"


def _when(rule: dict[str, Any]) -> str:
    from birdwatch.serving.control.ledger import say_rule  # noqa: PLC0415

    return say_rule(rule["when"], rule["model"])


def history(
    model: Annotated[str | None, typer.Option(help="Only what is about this model.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Leave out what was before: a date or time (UTC), or Unix seconds.")
    ] = None,
    streams: StreamsOption = STREAMS,
    as_json: _Json = False,
) -> None:
    """List the changes on control in order; one that the rendezvous refused is marked with the reason."""
    import msgspec  # noqa: PLC0415

    with opened(streams) as on:
        entries = [entry for entry in on.ledger.entries if _wanted(entry.control, model, since)]
    if as_json:
        rows = [msgspec.to_builtins(entry.control) | {"refused": entry.refused} for entry in entries]
        typer.echo(msgspec.json.encode(rows).decode())
    elif entries:
        _print_entries(entries)
    else:
        typer.echo("no changes")


def _wanted(control: "Control", model: str | None, since: str | None) -> bool:
    from birdwatch.detect.duration import parse_moment  # noqa: PLC0415
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    try:
        after = float("-inf") if since is None else parse_moment(since)
    except ValueError as error:
        raise SettingsError(f"--since: {error}") from error
    return control.ts >= after and model in (None, control.model)


def _print_entries(entries: list["Entry"]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from birdwatch.serving.control.ledger import say  # noqa: PLC0415

    table = Table("time (UTC)", "change", "by", "why", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for control, refused in entries:
        why = Text(control.reason)
        if refused:
            why.append(f" – refused: {refused.partition(': ')[2]}", style="red")
        table.add_row(_utc(control.ts), Text(say(control)), Text(control.author), why)
    Console().print(table)


def _utc(ts: float | None) -> str:
    from birdwatch.detect.duration import say_moment  # noqa: PLC0415

    return "–" if ts is None else say_moment(ts)
