"""``birdwatch gate``: the check as a service, for what delivers models step by step."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.cli.options import RulesFolder, SettingsFile, StoreFile
from birdwatch.config import load_settings
from birdwatch.signals import until_signalled

if TYPE_CHECKING:
    from birdwatch.check.report import Report
    from birdwatch.check.service import Asked

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LOOK_SECONDS = 0.2


@app.command()
def gate(
    settings: SettingsFile = None,
    store: StoreFile = None,
    rules: RulesFolder = None,
    alpha: Annotated[
        float,
        typer.Option(
            min=1e-12, max=0.5, help="The chance with which it may fail although all is within its tolerance."
        ),
    ] = 0.01,
    most_missing: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of the champion's requests that a shadow need not have scored."),
    ] = 0.01,
    host: Annotated[str, typer.Option(help="The address to listen on; in a container, 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8090,
) -> None:
    """Answer Argo Rollouts (GET /check?shadow=MODEL) and Flagger (POST /flagger) from the store of a tail.

    Whom the shadow is compared with, unless the request names it, is the champion that serves now; since when, its last
    registration. Ends on SIGTERM.
    """
    from birdwatch.check.service import Gate  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.check.shadow import check_shadow  # noqa: PLC0415
    from birdwatch.cli.check import moment  # noqa: PLC0415
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    chosen = load_settings(settings, store=store, rules=rules)
    rule_set = load_rules(chosen.rules or content("detectors"))

    def judge(asked: "Asked") -> "Report":
        with closing(Store(chosen.store, readonly=True)) as kept:
            since = None if asked.since is None else moment(asked.since)
            return check_shadow(
                kept,
                asked.champion,
                asked.shadow,
                rule_set,
                chosen,
                alpha=alpha,
                most_missing=most_missing,
                since=since,
            )

    with until_signalled() as stopping, closing(Gate(judge, host, port)) as served:
        typer.echo(f"listening on http://{host}:{served.port}")
        turning = served.pulse.turning(stopping)
        while not turning():
            time.sleep(_LOOK_SECONDS)
