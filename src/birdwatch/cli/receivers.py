"""``birdwatch alerts test`` and ``enable``: try a receiver, and ask one again that had enough."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from birdwatch.cli.options import SettingsFile, StoreFile
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from birdwatch.records import Alert
    from birdwatch.windows.store import Store

__all__ = ["enable", "say_disabled", "try_out"]

Severity = Literal["page", "ticket", "info"]

_Name = Annotated[str, typer.Argument(metavar="SINK", help="Its name: one of `sinks`, or webhook, log, stream.")]


def try_out(
    sink: _Name,
    settings: SettingsFile = None,
    severity: Annotated[Severity, typer.Option(help="Receivers route by it.")] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a test alert through one sink, at once, and say what came of it; the exit code is 1 if it was not taken.

    It bears the rule `test`, says that it is one, and goes past the store: `birdwatch alerts list` never shows it.
    """
    import time  # noqa: PLC0415 - help should not wait for what only the work needs

    import msgspec  # noqa: PLC0415

    from birdwatch.alerts.sinks import open_sink  # noqa: PLC0415

    chosen = load_settings(settings)
    opened = open_sink(chosen, sink)
    now = time.time()
    try:
        opened.send(_alert(severity, now), f"test-{now:.3f}")
    except Exception as error:  # noqa: BLE001 - a sink may be anybody's code: whatever it raises, it failed
        why = str(error) or type(error).__name__
    else:
        why = ""
    finally:
        opened.close()
    seconds = time.time() - now
    if as_json:
        told = {"sink": sink, "taken": not why, "error": why, "seconds": round(seconds, 3)}
        typer.echo(msgspec.json.encode(told).decode())
    elif why:
        typer.echo(f"{sink} did not take the test alert: {why}")
    else:
        typer.echo(f"{sink} took the test alert, after {seconds:.1f} s")
    if why:
        raise typer.Exit(1)


def _alert(severity: Severity, now: float) -> "Alert":
    from birdwatch.records import Alert  # noqa: PLC0415

    return Alert(
        fingerprint="test",
        ts=now,
        started=now,
        state="firing",
        rule="test",
        severity=severity,
        attribution="this is a test",
        model="",  # of no model: where it goes to the stream, a guard has nothing to roll back
        version="",
        reason="This is a test: somebody asked with `birdwatch alerts test` whether alerts arrive. There is nothing to do.",
    )


def enable(sink: _Name, settings: SettingsFile = None, store: StoreFile = None) -> None:
    """Enable a sink whose receiver answered 410 (Gone), and try at once what waits for it."""
    from birdwatch.alerts import outbox, receivers  # noqa: PLC0415
    from birdwatch.alerts.beside import beside  # noqa: PLC0415
    from birdwatch.alerts.sinks import sink_names  # noqa: PLC0415

    chosen = load_settings(settings, store=store)
    with beside(chosen.store) as kept:
        waiting = outbox.waiting(kept)
        known = sorted({*sink_names(chosen), *waiting})
        if sink not in known:
            raise SettingsError(f"there is no sink {sink!r}: there are {', '.join(known) or 'none'}")
        receivers.enable(kept, sink)
    count = waiting.get(sink, 0)
    typer.echo(f"{sink} is enabled: {'1 change is' if count == 1 else f'{count} changes are'} due now")


def say_disabled(store: "Store") -> None:
    """Say of every sink that is disabled that it is; beside what was asked for, not in it."""
    from birdwatch.alerts.receivers import disabled  # noqa: PLC0415

    for one in disabled(store).values():
        typer.echo(one.in_words(), err=True)
