"""Options that several commands have, so that each says the same of them."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "HealthHost",
    "HealthPort",
    "PaneSeconds",
    "ReferenceFiles",
    "RulesFolder",
    "SettingsFile",
    "StoreFile",
    "StreamsPlace",
]

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A YAML file of settings; ./birdwatch.yaml by default.")
]
StreamsPlace = Annotated[str | None, typer.Option("--streams", help="Where the streams live.")]
StoreFile = Annotated[Path | None, typer.Option("--store", help="The file with panes, verdicts and alerts.")]
RulesFolder = Annotated[Path | None, typer.Option("--rules", help="The folder of rules; the starter set by default.")]
ReferenceFiles = Annotated[
    list[Path] | None,
    typer.Option("--reference", help="A frozen reference, used in place of trailing ones; may be repeated."),
]
PaneSeconds = Annotated[int | None, typer.Option("--pane-seconds", help="Event time in one pane.")]
HealthPort = Annotated[
    int | None,
    typer.Option(
        "--health-port",
        min=0,
        max=65535,
        help="Answer /healthz, /readyz and /metrics on this port; 0 takes a free one.",
    ),
]
HealthHost = Annotated[
    str, typer.Option("--health-host", help="The address of --health-port; in a container, 0.0.0.0.")
]
