"""The changes that take one record: who is there, who answers, and who no longer does."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from birdwatch.cli.deploy.control import (
    STREAMS,
    AuthorOption,
    JsonOption,
    Ledgered,
    ModelArgument,
    ReasonOption,
    StreamsOption,
    TsOption,
    make_control,
    opened,
    put,
    require_fleet,
    write,
)

if TYPE_CHECKING:
    from birdwatch.records import Control

__all__ = ["champion", "hold", "override", "ramp", "register", "retire", "rollback", "schedule"]


def register(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The new version.")],
    reason: ReasonOption,
    target: Annotated[
        str | None, typer.Option(help="What the runner loads, module:function; as before by default.")
    ] = None,
    artifact: Annotated[str | None, typer.Option(help="The path given to the target, then a factory.")] = None,
    options: Annotated[str | None, typer.Option(help="JSON object with the factory's keywords.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="One of them, as name=value (JSON, or else text); may be repeated.")
    ] = None,
    role: Annotated[Literal["model", "canary"], typer.Option(help="A canary never answers.")] = "model",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Let it answer at once, unseen, where the model answers now.")
    ] = False,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the model's runner load a version; its scores flow, and answer only when it is ramped up or made champion."""
    params: dict[str, Any] = {}
    if target is not None:
        params["target"] = target
    if artifact is not None:
        params["artifact"] = artifact
    if options is not None or option:
        params["options"] = _factory_options(options, option or [])
    if role == "canary":
        params["role"] = role
    if in_place:
        params["in_place"] = True
    control = make_control("register", model, version, params, reason=reason, author=author, ts=ts)
    with opened(streams) as on:
        _refuse_unseen(on, control)
        put(on, control, as_json=as_json)


def _refuse_unseen(on: Ledgered, control: "Control") -> None:
    """Refuse a version that would answer at once, by the name under which another one answers now."""
    from birdwatch.errors import SettingsError  # noqa: PLC0415 - `--help` should not wait

    model, version = control.model, control.version
    stages = {standing.model: standing for standing in require_fleet(on).standing()}
    now = stages.get(model)
    if now is None or now.stage not in ("first tier", "later tier") or control.params.get("role") == "canary":
        return
    if not control.params.get("in_place") and version != now.version and version not in on.heard.get(model, []):
        raise SettingsError(
            f"{model!r} answers now (in the {now.stage}), and version {version!r} would do so unseen: register it under a"
            f" name of its own, say {model}-{version}, warm and ramp it; or say --in-place"
        )


def _factory_options(text: str | None, single: list[str]) -> dict[str, Any]:
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise SettingsError(f"--options {text!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"--options {text!r} is no JSON object, as in {{}}")
    for each in single:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise SettingsError(f"--option {each!r}: write name=value")
        found[name] = _value(value)
    return found


def ramp(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The only version of it that may then answer.")],
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Of the keys, in the first tier; 0 ends the ramp.")],
    reason: ReasonOption,
    guard: Annotated[
        Literal["hold", "rollback"] | None,
        typer.Option(help="What `serve guard` does when an alert names the version."),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Though it is not warm, or held.")] = False,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a version answer a share of the keys; keys that it has stay with it when the share is raised."""
    params: dict[str, Any] = {"percent": int(percent) if percent.is_integer() else percent}
    if guard is not None:
        params["guard"] = guard
    if anyway:
        params["anyway"] = True
    control = make_control("ramp", model, version, params, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json)
    if guard is not None and percent > 0:
        _look_for_guard(streams)


def _look_for_guard(streams: str) -> None:
    from contextlib import closing  # noqa: PLC0415

    from birdwatch.serving.control.guard import GROUP  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    with closing(open_streams(streams)) as place:
        if not place.committed(GROUP, ["control"]):
            typer.echo("no guard has ever read this control stream: start one with `birdwatch serve guard`", err=True)


def hold(
    model: ModelArgument,
    reason: ReasonOption,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a ramp stay where it is: it may not be raised, unless `ramp --anyway` says that this is over."""
    control = make_control("hold", model, "", {}, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json)


def champion(
    model: ModelArgument,
    reason: ReasonOption,
    version: Annotated[str, typer.Option(help="The only version of it that may then answer; any by default.")] = "",
    anyway: Annotated[bool, typer.Option("--anyway", help="Though it has not scored lately.")] = False,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model the first tier of the schedule; those that were there go on in shadow."""
    control = make_control("champion", model, version, {}, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json, check=None if anyway else _refuse_silent)


def _refuse_silent(on: Ledgered, control: "Control") -> None:
    """Refuse a champion from which nothing is heard: every request would get what comes after it."""
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    heard = on.heard.get(control.model, [])
    if control.model in require_fleet(on).canaries:
        return  # that is refused for another reason
    if not heard or (control.version and control.version not in heard):
        about = f"{control.model!r}" + (f" version {control.version!r}" if control.version else "")
        raise SettingsError(f"{about} has not scored lately: look at its runner, or say --anyway")


def schedule(
    file: Annotated[Path, typer.Argument(help="YAML file with the tiers, the deadline and the default.")],
    reason: ReasonOption,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put another schedule in force; it is checked first. It ends all ramps that it does not name."""
    from birdwatch.serving.control.schedule import load_schedule  # noqa: PLC0415

    plan = load_schedule(file)
    params = plan.model_dump(mode="json", exclude={"version"})
    control = make_control("schedule", "", plan.version, params, reason=reason, author=author, ts=ts)
    with opened(streams) as on:
        put(on, control, as_json=as_json)


def override(
    reason: ReasonOption,
    model: Annotated[str, typer.Argument(help="The model that must answer.")] = "",
    name: Annotated[
        str | None, typer.Option(help="What the rule is called, and answers are marked with; the model by default.")
    ] = None,
    when: Annotated[
        list[str] | None,
        typer.Option(
            help="A condition on a feature: dest=LEX, distance>=2000, hour<6; may be repeated, all must hold."
        ),
    ] = None,
    clear: Annotated[str | None, typer.Option(help="Take back the rule of this name.")] = None,
    streams: StreamsOption = STREAMS,
    author: AuthorOption = None,
    ts: TsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Force a model on requests by their features; without --when on all. Several values of a feature: any of them."""
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    if clear is not None and (model or name or when):
        raise SettingsError("--clear takes a rule back and goes with no model, --name or --when")
    if clear is not None:
        params: dict[str, Any] = {"name": clear, "clear": True}
    else:
        params = {"name": name or model, "when": _conditions(when or [])}
    control = make_control("override", model, "", params, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json)


_CONDITION: Final = re.compile(r"\s*([^<>=\s]+)\s*(>=|<|=)\s*(.+?)\s*")


def _conditions(texts: list[str]) -> dict[str, Any]:
    """Read conditions as people write them.

    >>> _conditions(["dest=LEX", "dest=JAC", "distance>=2000", "distance<3000"])
    {'dest': ['LEX', 'JAC'], 'distance': {'at_least': 2000, 'below': 3000}}
    """
    from birdwatch.errors import SettingsError  # noqa: PLC0415

    found: dict[str, Any] = {}
    for text in texts:
        parts = _CONDITION.fullmatch(text)
        if parts is None:
            raise SettingsError(f"--when {text!r}: write feature=value, feature>=number or feature<number")
        feature, sign, value = parts[1], parts[2], _value(parts[3])
        known = found.get(feature)
        if sign == "=":
            values = [value] if known is None else [*known, value] if isinstance(known, list) else None
            if values is None:
                raise SettingsError(f"--when {text!r}: {feature} is in a range already; it cannot be a value as well")
            found[feature] = values
        else:
            if isinstance(known, list):
                raise SettingsError(f"--when {text!r}: {feature} is a value already; it cannot be in a range as well")
            found[feature] = (known or {}) | {"at_least" if sign == ">=" else "below": value}
    return {name: each[0] if isinstance(each, list) and len(each) == 1 else each for name, each in found.items()}


def _value(text: str) -> Any:
    """Read JSON; what is none is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


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
    """Take a version back, in force at the next request and without a restart; its ramp ends."""
    params = {} if to is None else {"to": to}
    control = make_control("rollback", model, version, params, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json)


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
    control = make_control("retire", model, version, {}, reason=reason, author=author, ts=ts)
    write(streams, control, as_json=as_json)
