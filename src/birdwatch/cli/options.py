"""Options that several commands have, so that each says the same of them."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AllowPickle",
    "Artifact",
    "BatchSize",
    "FactoryOptions",
    "HealthHost",
    "HealthPort",
    "ModelSeconds",
    "ModelTarget",
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
ModelTarget = Annotated[
    str,
    typer.Option(
        "--target", help="module:function from a list of features to as many numbers; or skops, onnx, oip, pickle."
    ),
]
Artifact = Annotated[
    str | None,
    typer.Option("--artifact", help="A path, for oip a URL; --target then names a factory that is called with it."),
]
FactoryOptions = Annotated[
    str, typer.Option("--options", help='JSON that the factory is given as keywords, as in \'{"positive": "late"}\'.')
]
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="How many requests to score at once, at most.")]
ModelSeconds = Annotated[
    float,
    typer.Option(
        "--timeout-seconds", min=0.001, help="How long the model may take for a batch, which then gets errors."
    ),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load pickles with a known SHA-256; reading one runs its code.")
]
