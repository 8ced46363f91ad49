"""Write a change to the control stream: ordered, kept, and in force at the next request."""

import getpass
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

STREAMS: Final = "sqlite:birdwatch-streams"

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
StreamsOption = Annotated[str, typer.Option("--streams", help="Where the streams live.", envvar="BIRDWATCH_STREAMS")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for those who read it later.")]
AuthorOption = Annotated[str | None, typer.Option("--author", help="Who; your login name by default.")]
TsOption = Annotated[
    float | None, typer.Option("--ts", help="Event time in Unix seconds, for a replay; now by default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the record itself.")]


@app.command()
def register(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The new version.")],
    reason: ReasonOption,
    target: Annotated[
        str | None, typer.Option(help="What the runner loads, module:function; as before by default.")
    ] = None,
    artifact: Annotated[str | None, typer.Option(help="The path given to the target, then a factory.")] = None,
    role: Annotated[Literal["model", "canary"], typer.Option(help="A canary never answers.")] = "model",
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the model's runner load a version; its scores flow, and answer only if the schedule names the model."""
    params = {name: value for name, value in (("target", target), ("artifact", artifact)) if value is not None}
    if role == "canary":
        params["role"] = role
    _write(streams, "register", model, version, params, reason=reason, author=author, ts=ts, as_json=as_json)


@app.command()
def champion(
    model: ModelArgument,
    reason: ReasonOption,
    version: Annotated[str, typer.Option(help="Its version, for the record.")] = "",
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model the first tier of the schedule; those that were there go on in shadow."""
    _write(streams, "champion", model, version, {}, reason=reason, author=author, ts=ts, as_json=as_json)


@app.command()
def schedule(
    file: Annotated[Path, typer.Argument(help="YAML file with the tiers, the deadline and the default.")],
    reason: ReasonOption,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put another schedule in force; it is checked first."""
    from birdwatch.serving.schedule import load_schedule  # noqa: PLC0415 - `--help` should not wait

    plan = load_schedule(file).model_dump(mode="json")
    version = plan.pop("version")
    _write(streams, "schedule", "", version, plan, reason=reason, author=author, ts=ts, as_json=as_json)


@app.command()
def rollback(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The bad version: it answers no more.")],
    reason: ReasonOption,
    to: Annotated[str | None, typer.Option(help="The version to serve instead; the one before by default.")] = None,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a version back, in force at the next request and without a restart."""
    params = {} if to is None else {"to": to}
    _write(streams, "rollback", model, version, params, reason=reason, author=author, ts=ts, as_json=as_json)


@app.command()
def retire(
    model: ModelArgument,
    reason: ReasonOption,
    version: Annotated[str, typer.Option(help="Only this version; the model as a whole by default.")] = "",
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model go: it is no longer expected to score, never answers, and its runner ends."""
    _write(streams, "retire", model, version, {}, reason=reason, author=author, ts=ts, as_json=as_json)


def _write(
    streams: str,
    action: Literal["register", "champion", "schedule", "rollback", "retire"],
    model: str,
    version: str,
    params: dict[str, Any],
    *,
    reason: str,
    author: str | None,
    ts: float | None,
    as_json: bool,
) -> None:
    from birdwatch.records import Control, encode  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    control = Control(
        ts=time.time() if ts is None else ts,
        action=action,
        author=author or getpass.getuser(),
        reason=reason,
        model=model,
        version=version,
        params=params,
    )
    value = encode(control)
    place = open_streams(streams)
    place.append("control", [(model.encode(), value)])
    place.close()
    if as_json:
        typer.echo(value.decode())
    else:
        what = " ".join(part for part in (action, model, version) if part)
        typer.echo(f"{what}: on the control stream of {streams}, by {control.author}")
