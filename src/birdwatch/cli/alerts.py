"""``birdwatch alerts``: deliver what has been raised, list it, look at one, silence and acknowledge it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.cli import silencing
from birdwatch.cli.following import serving_health
from birdwatch.cli.options import HealthHost, HealthPort, SettingsFile, StoreFile
from birdwatch.cli.receivers import enable, say_disabled, try_out
from birdwatch.config import load_settings
from birdwatch.detect.duration import parse_moment, say_moment
from birdwatch.errors import BirdwatchError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from birdwatch.alerts.history import AlertRow, Change
    from birdwatch.records import Alert

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def deliver(
    settings: SettingsFile = None,
    store: StoreFile = None,
    webhook: Annotated[str | None, typer.Option(help="Where alerts are posted.")] = None,
    log: Annotated[Path | None, typer.Option(help="A file of JSON lines with every alert.")] = None,
    streams: Annotated[str | None, typer.Option(help="Where the streams live; alerts go to `alerts` there.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Deliver what is due now, and stop.")] = False,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Deliver alerts to all sinks of the settings, each at least once. Ends on SIGTERM, or with --once.

    A receiver that is down is tried again after 5 s, 5 min, 30 min, then every 2 h, or when it asks for, and holds up
    no other; one that is new to this store is first told what fires now. With --once the exit code is 1 if something
    was not taken.
    """
    import logging  # noqa: PLC0415 - help should not wait for what only the work needs
    import signal  # noqa: PLC0415
    import threading  # noqa: PLC0415

    from birdwatch.alerts import delivery  # noqa: PLC0415
    from birdwatch.alerts.attempts import AttemptsMetrics  # noqa: PLC0415
    from birdwatch.alerts.sinks import open_sinks  # noqa: PLC0415
    from birdwatch.cli.picturing import open_pictures  # noqa: PLC0415

    chosen = load_settings(settings, store=store, webhook=webhook, alert_log=log, streams=streams)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would print the webhook's address, secrets included
    served = health_port is not None and not once
    pictures = open_pictures(chosen, served=served)
    sinks = open_sinks(chosen, pictures)
    if not sinks:
        raise SettingsError(
            "no receiver is set: give --webhook, --log or --streams (recorded streams are only read), or `sinks` in the"
            " settings"
        )
    try:
        if once:
            if delivery.deliver_once(chosen.store, sinks):
                raise typer.Exit(1)
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        there = "" if chosen.store.exists() else ", once it is there"
        attempts = AttemptsMetrics(sinks, lambda: health.pulse.beat())  # noqa: PLW0108 - which is made below
        shown = [attempts] if pictures is None else [attempts, pictures]
        with serving_health(health_port, health_host, "deliver", shown) as health:
            if pictures is not None:
                health.offer("pictures", "image/png", pictures.named)
            typer.echo(f"delivering from {chosen.store} to {', '.join(sinks)}{there}\nready")
            delivery.deliver(chosen.store, sinks, stop, turned=attempts.turn)
    finally:
        for sink in sinks.values():
            sink.close()
        if pictures is not None:
            pictures.close()


@app.command("list")
def list_(
    settings: SettingsFile = None,
    store: StoreFile = None,
    since: Annotated[
        str | None, typer.Option(help="Leave out what resolved before: a date or time (UTC), or Unix seconds.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """List alerts, the oldest first: what fires, and what has resolved."""
    import msgspec  # noqa: PLC0415

    from birdwatch.alerts.history import read_alerts  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    after = float("-inf") if since is None else _moment(since)
    kept = Store(load_settings(settings, store=store).store, readonly=True)
    rows = read_alerts(kept, after, float("inf"))
    say_disabled(kept)
    kept.close()
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    elif rows:
        _print_table(rows)
    else:
        typer.echo("no alerts")


@app.command()
def show(
    fingerprint: Annotated[str, typer.Argument(help="An alert's fingerprint, or its first digits.")],
    settings: SettingsFile = None,
    store: StoreFile = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture of what lay behind it when it fired last: a file, as PNG.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show every change of one alert, and how each came to its receivers."""
    import msgspec  # noqa: PLC0415

    from birdwatch.alerts.history import read_changes  # noqa: PLC0415
    from birdwatch.cli.picturing import write_picture  # noqa: PLC0415
    from birdwatch.detect.verdict import Subject  # noqa: PLC0415
    from birdwatch.detect.words import about  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    chosen = load_settings(settings, store=store)
    kept = Store(chosen.store, readonly=True)
    changes = read_changes(kept, fingerprint)
    say_disabled(kept)
    kept.close()
    found = sorted({change.alert.fingerprint for change in changes})
    if not found:
        raise BirdwatchError(
            f"no alert's fingerprint starts with {fingerprint!r}: `birdwatch alerts list` has them all"
        )
    if len(found) > 1:
        raise BirdwatchError(f"{fingerprint!r} is not clear, it could be {', '.join(found)}: give more digits")
    if picture is not None:
        write_picture(chosen, [change.alert for change in changes if change.alert.state == "firing"][-1], picture)
    if as_json:
        typer.echo(msgspec.json.encode(changes).decode())
        return
    first = changes[0].alert
    typer.echo(f"{first.fingerprint}  {first.severity}  {first.rule}  {first.attribution}")
    typer.echo(about(Subject(first.model, first.version, first.partner, first.feature)))
    for change in changes:
        alert = change.alert
        typer.echo(f"\n{say_moment(alert.ts)}  {alert.state}: {alert.reason}")
        for line in _numbers(alert) if alert.state == "firing" else ():
            typer.echo(f"  {line}")
        if marks := _marks(change):
            typer.echo(f"  {marks}")
        for to in change.deliveries:
            came = f"delivered {say_moment(to.delivered)}" if to.delivered is not None else "waits"
            tries = f" ({to.attempts} attempts)" if to.attempts > 1 else ""
            why = f": {to.error}" if to.error else ""
            typer.echo(f"  {to.sink}: {came}{tries}{why}")


app.command("test")(try_out)
app.command()(enable)


def _numbers(alert: "Alert") -> "Iterable[str]":
    """Say how far it moved and since when, what that took of the budget, and what to do."""
    from birdwatch.alerts.standing import count  # noqa: PLC0415

    if alert.value is not None and alert.tolerance is not None:
        since = "" if alert.since is None else f" since {say_moment(alert.since)}"
        yield (
            f"{alert.statistic} {alert.value:.3g}{since}, {alert.effect:.3g} beyond the {alert.tolerance:.3g} that is in order"
        )
    if alert.cost is not None:
        yield f"cost of this look: {count(float(f'{alert.cost:.2g}'), f'false {alert.severity}')} to be expected at the most"
    if alert.runbook:
        yield f"runbook: {alert.runbook}"


def _marks(said: "AlertRow | Change") -> str:
    """Say what keeps an alert back, or did, and who looks after it."""
    marks = []
    if said.inhibited_by:
        marks.append(f"{'' if said.inhibited else 'was '}inhibited by {said.inhibited_by[:8]}")
    if said.silenced_by:
        marks.append(f"{'' if said.silenced else 'was '}silenced by {said.silenced_by}")
    if said.acknowledged is not None:
        note = f": {said.acknowledged.note}" if said.acknowledged.note else ""
        marks.append(f"acknowledged by {said.acknowledged.author} {say_moment(said.acknowledged.at)}{note}")
    return "; ".join(marks)


def _print_table(rows: "Iterable[AlertRow]") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.detect.verdict import Subject  # noqa: PLC0415
    from birdwatch.detect.words import about  # noqa: PLC0415

    table = Table(box=box.SIMPLE)
    for name in ("fired (UTC)", "resolved", "severity", "alert"):
        table.add_column(name, no_wrap=True)
    table.add_column("what")
    for row in rows:
        what = f"{about(Subject(row.model, row.version, row.partner, row.feature))}: {row.attribution or row.rule}"
        waiting = ", ".join(name for name, at in row.delivered.items() if at is None)
        resolved = "–" if row.resolved is None else say_moment(row.resolved)
        # Its first digits name an alert well enough for `birdwatch alerts show`.
        told = "; ".join(filter(None, (what, _marks(row), f"{waiting} waits" if waiting else "")))
        table.add_row(say_moment(row.fired), resolved, row.severity, row.fingerprint[:8], told)
    Console().print(table)


for _command in (silencing.silence, silencing.silences, silencing.unsilence, silencing.ack):
    app.command()(_command)


def _moment(text: str) -> float:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise SettingsError(f"--since: {error}") from error
