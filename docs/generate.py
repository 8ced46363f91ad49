"""Write the reference from the code: `make docs`. A test fails while what is written is not what the code says."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import typer
from typer.core import TyperGroup

from birdwatch.cli.main import app
from birdwatch.config import SINK_KINDS, Feature, Kept, Mapping, Segment, Settings
from birdwatch.content import content
from birdwatch.detect.rules import load_kinds
from birdwatch.detect.schema import rules_schema
from birdwatch.records import RECORDS, Token
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter

__all__ = ["pages"]

_HERE: Final = Path(__file__).parent / "reference"
_WRITTEN: Final[dict[str, type[msgspec.Struct]]] = RECORDS | {DEADLETTERS: DeadLetter}
_NOTE: Final = "<!-- Written by `make docs`: change the code instead. -->\n\n"
_FORMATS: Final = {"path": "path", "password": "string, kept secret"}


def pages() -> dict[Path, str]:
    """Give all that is generated, by file."""
    found = {
        _HERE / "cli.md": _commands(),
        _HERE / "settings.md": _settings(),
        _HERE / "rules.schema.json": _rules(),
        _HERE / "records" / "README.md": _records(),
    }
    kinds: dict[type[msgspec.Struct], None] = dict.fromkeys([*_WRITTEN.values(), Token])
    for kind in kinds:
        found[_HERE / "records" / f"{kind.__name__}.json"] = _schema(kind)
    return found


def _commands() -> str:
    parts = [_NOTE, "# Commands\n"]
    for path, help_text in _helps(typer.main.get_command(app), "birdwatch"):
        parts.append(f"\n{'#' * min(len(path) + 1, 4)} `{' '.join(path)}`\n\n```text\n{help_text.rstrip()}\n```\n")
    return "".join(parts)


def _helps(command: Any, *path: str, parent: Any = None) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give (path, help) of a command and of all in it."""
    context = command.context_class(
        command, info_name=path[-1], parent=parent, terminal_width=100, max_content_width=100
    )
    yield path, command.get_help(context)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            yield from _helps(command.get_command(context, name), *path, name, parent=context)


def _settings() -> str:
    intro = (
        "# Settings\n\nFrom the command line, else the environment, else the YAML file (`--settings`, or `birdwatch.yaml` in the"
        " working\ndirectory), else the default. `birdwatch init` writes a file with all of them. An unknown setting is an error.\n"
    )
    mapping = (
        "\n## A mapping\n\nWhat stands under `mappings: {scores: ...}` says how somebody else's stream says what our `scores`"
        " say.\n\n"
    )
    feature = (
        "\n## A feature\n\nWhat stands under `features: {NAME: ...}` is counted of every request: numbers as `feature.NAME`,"
        " categories as\n`category.NAME`, and as `missing.NAME` how often there was none, or something else in its place.\n\n"
    )
    segment = (
        "\n## A segment\n\nWhat stands under `segments: {NAME: ...}` is a dimension: scores, and what a model and its partner"
        " differ by, are counted\nfor each part of it as well.\n\n"
    )
    kept = (
        "\n## What is archived\n\nWhat stands under `archive: {requests: ...}` says what `birdwatch archive write` leaves out of a"
        " stream's records:\n[the archive](../guide/archive.md).\n\n"
    )
    sinks = "\n## A sink\n\nWhat stands under `sinks: {NAME: {kind: ...}}` is a receiver of alerts: [how they arrive](../guide/alerts.md).\n"
    return (
        _NOTE
        + intro
        + "\n"
        + _table(Settings, "BIRDWATCH_")
        + mapping
        + _table(Mapping)
        + feature
        + _table(Feature)
        + segment
        + _table(Segment)
        + kept
        + _table(Kept)
        + sinks
        + "".join(f"\n{inspect.cleandoc(kind.__doc__ or '')}\n\n{_table(kind)}" for kind in SINK_KINDS)
    )


def _table(model: Any, prefix: str = "") -> str:
    schema = model.model_json_schema()["properties"]
    lines = ["| setting | values | default | what it is |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "none: needed" if field.is_required() else msgspec.json.encode(value, enc_hook=str).decode()
        where = f"`{name}`" + (f"<br>`{prefix}{name.upper()}`" if prefix else "")
        lines.append(f"| {where} | {_values(schema[name])} | `{default}` | {field.description} |")
    return "\n".join(lines) + "\n"


def _values(schema: dict[str, Any]) -> str:
    """Say in words which values a JSON Schema allows."""
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return "a mapping"
    kind = str(schema.get("type", "anything"))
    kind = {"object": "names and values", "null": "nothing"}.get(kind, kind)
    if kind == "array":
        return f"list of {_values(schema['items'])}"
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    above = f" > {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else ""
    return kind + above + (f" ≥ {schema['minimum']:g}" if "minimum" in schema else "")


def _records() -> str:
    lines = [
        "# Records",
        "",
        "One JSON object a message, as in `birdwatch.records`. Unknown fields are ignored; a message that is not what its",
        "schema says goes to `deadletters`, with the reason.",
        "",
        "| stream | record |",
        "|---|---|",
        *(f"| `{stream}` | [{kind.__name__}]({kind.__name__}.json) |" for stream, kind in _WRITTEN.items()),
        "",
        "Among the `requests` may lie a [Token](Token.json), which begins with the field `token`: it cuts the stream for a swap,",
        "and is passed by. A dead letter's headers, where streams are Kafka's, say `birdwatch.stream`, `birdwatch.partition`,",
        "`birdwatch.offset` and `birdwatch.reason`.",
    ]
    return _NOTE + "\n".join(lines) + "\n"


def _rules() -> str:
    kinds, _ = load_kinds(content("detectors"))
    return json.dumps(rules_schema(kinds.loaded()), indent=2, ensure_ascii=False) + "\n"


def _schema(kind: type[msgspec.Struct]) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    for part in schema["$defs"].values():
        part["description"] = inspect.cleandoc(part["description"])
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


if __name__ == "__main__":
    for file, text in pages().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
