"""Run one part of the serving pipeline: each is a process of its own, and all meet on the streams."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from birdwatch.cli.options import (
    AllowPickle,
    Artifact,
    BatchSize,
    FactoryOptions,
    HealthHost,
    HealthPort,
    ModelSeconds,
    ModelTarget,
    SettingsFile,
)
from birdwatch.signals import until_signalled

if TYPE_CHECKING:
    from birdwatch.health import Health

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

StreamsOption = Annotated[str, typer.Option("--streams", help="Where the streams live.", envvar="BIRDWATCH_STREAMS")]
ScheduleOption = Annotated[
    Path, typer.Option("--schedule", help="YAML file with the tiers, the deadline and the default.")
]
STREAMS: Final = "sqlite:birdwatch-streams"


@app.command()
def gateway(
    schedule: ScheduleOption,
    streams: StreamsOption = STREAMS,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8080,
    features: Annotated[
        str | None, typer.Option(help="Plug-in module:function that injects external state into the features.")
    ] = None,
    features_config: Annotated[
        str | None, typer.Option(help="A path or JSON; --features then names a factory that is called with it.")
    ] = None,
    name: Annotated[str, typer.Option(help="The gateway's name; of several gateways, each has its own.")] = "gateway",
    max_in_flight: Annotated[int, typer.Option(min=1, help="How many clients may wait at a time.")] = 256,
    horizon_seconds: Annotated[
        float, typer.Option(min=1, help="How long answers are remembered for those who ask again.")
    ] = 300.0,
) -> None:
    """Take requests over HTTP and give the answers: POST /v1/score, and the Open Inference Protocol under /v2."""
    from birdwatch.serving.control.schedule import load_schedule  # noqa: PLC0415
    from birdwatch.serving.features.plugin import load_features  # noqa: PLC0415 - `--help` should not wait for a web server
    from birdwatch.serving.gateway.gateway import Gateway  # noqa: PLC0415
    from birdwatch.serving.gateway.server import bind, serve_http  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    plan = load_schedule(schedule)
    inject = load_features(features, features_config)
    with until_signalled() as stopping, bind(host, port) as bound, closing(open_streams(streams)) as place:
        made = Gateway(
            place,
            plan,
            inject=inject,
            target=features,
            config=features_config,
            name=name,
            max_in_flight=max_in_flight,
            horizon_seconds=horizon_seconds,
        )
        serve_http(made.app, bound, made.drained(stopping))


@app.command()
def runner(
    model: Annotated[str, typer.Option(help="The name under which it scores.")],
    target: ModelTarget,
    version: Annotated[str, typer.Option(help="The version that is loaded first.")] = "1",
    artifact: Artifact = None,
    options: FactoryOptions = "{}",
    role: Annotated[
        Literal["model", "canary"], typer.Option(help="A canary scores like any model, and never answers.")
    ] = "model",
    streams: StreamsOption = STREAMS,
    start: Annotated[
        Literal["latest", "earliest"], typer.Option(help="Where to begin the first time; earliest scores all there is.")
    ] = "latest",
    batch: BatchSize = 64,
    timeout_seconds: ModelSeconds = 10.0,
    allow_pickle: AllowPickle = False,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Score requests with one model."""
    from birdwatch.cli.values import json_object  # noqa: PLC0415
    from birdwatch.serving.process import announce_ready  # noqa: PLC0415
    from birdwatch.serving.runner.model import Spec  # noqa: PLC0415
    from birdwatch.serving.runner.runner import Runner  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    spec = Spec(version, target, artifact, json_object(options, "--options"))
    with (
        until_signalled() as stopping,
        _health(health_port, health_host, "runner") as health,
        closing(open_streams(streams)) as place,
        closing(
            Runner(
                place,
                model,
                spec,
                role=role,
                start=start,
                batch=batch,
                timeout_seconds=timeout_seconds,
                allow_pickle=allow_pickle,
                stopping=stopping,
            )
        ) as made,
    ):
        health.show(lambda: made.counts, made.measures.registry, made.trouble)
        if not stopping():
            announce_ready()
        made.run(health.pulse.turning(stopping))


@app.command()
def rendezvous(
    schedule: ScheduleOption,
    streams: StreamsOption = STREAMS,
    horizon_seconds: Annotated[
        float, typer.Option(min=1, help="How much of the log is read again on start, and remembered.")
    ] = 60.0,
    name: Annotated[
        str, typer.Option(help="This instance's name; another than the first's waits until a swap names it.")
    ] = "rendezvous",
    label_horizon_seconds: Annotated[
        float, typer.Option(min=1, help="How long after its decision an outcome still teaches Thompson sampling.")
    ] = 604_800.0,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Choose the answer to each request among the scores, in time."""
    from birdwatch.serving.control.schedule import load_schedule  # noqa: PLC0415
    from birdwatch.serving.process import announce_ready  # noqa: PLC0415
    from birdwatch.serving.rendezvous.rendezvous import Rendezvous  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    plan = load_schedule(schedule)
    with (
        until_signalled() as stopping,
        _health(health_port, health_host, "rendezvous") as health,
        closing(open_streams(streams)) as place,
        closing(
            Rendezvous(
                place, plan, horizon_seconds=horizon_seconds, name=name, label_horizon_seconds=label_horizon_seconds
            )
        ) as made,
    ):
        health.show(lambda: made.mailboxes.counts)
        made.start()
        announce_ready()
        made.run(health.pulse.turning(stopping))


@app.command()
def decoy(
    archive: Annotated[Path, typer.Option(help="The folder in which the archive lies.")],
    streams: StreamsOption = STREAMS,
    flush_count: Annotated[int, typer.Option(min=1, help="Write a file when so many requests are waiting.")] = 10_000,
    flush_seconds: Annotated[
        float, typer.Option(min=0.1, help="Write a file when the first of them has waited so long.")
    ] = 60.0,
    settings: SettingsFile = None,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Archive every request as the models see it, and score none.

    The setting `archive` says what is left out of `requests`, or replaced by a keyed hash, as for `birdwatch archive write`.
    """
    from birdwatch.cli.archive import redactions_of  # noqa: PLC0415
    from birdwatch.config import load_settings  # noqa: PLC0415
    from birdwatch.serving.decoy import Decoy  # noqa: PLC0415
    from birdwatch.serving.process import announce_ready  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    redactions = redactions_of(load_settings(settings))
    with (
        until_signalled() as stopping,
        _health(health_port, health_host, "decoy") as health,
        closing(open_streams(streams)) as place,
        closing(
            Decoy(place, archive, redactions=redactions, flush_count=flush_count, flush_seconds=flush_seconds)
        ) as made,
    ):
        health.show(
            lambda: Counter(
                {
                    ("requests", ""): made.archived,
                    ("withheld", ""): made.counts["withheld", "requests"],
                    ("troubles", ""): made.trouble.times,
                }
            ),
            trouble=lambda: made.trouble.reason,
        )
        announce_ready()
        made.run(health.pulse.turning(stopping))


@app.command()
def guard(
    streams: StreamsOption = STREAMS,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Watch over ramps: hold or roll back the one that an alert names, as `deploy ramp --guard` asked for."""
    from birdwatch.serving.control.guard import Guard  # noqa: PLC0415
    from birdwatch.serving.process import announce_ready  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    with (
        until_signalled() as stopping,
        _health(health_port, health_host, "guard") as health,
        closing(open_streams(streams)) as place,
        closing(Guard(place)) as made,
    ):
        health.show(lambda: made.counts)
        announce_ready()
        made.run(health.pulse.turning(stopping))


@contextmanager
def _health(port: int | None, host: str, component: str) -> Iterator["Health"]:
    """Answer /healthz, /readyz and /metrics meanwhile, where that is wanted."""
    from birdwatch.health import Health  # noqa: PLC0415
    from birdwatch.serving.process import announce  # noqa: PLC0415

    with closing(Health(port, component, host)) as health:
        if health.port is not None:
            announce(f"health on http://{host}:{health.port}")
        yield health
