"""``birdwatch init``: a user's own deployment, to edit and to keep under version control."""

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.content import FOLDERS, content
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from birdwatch.config import Settings

__all__ = ["app", "settings_file"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HEAD = """\
# The settings of this Birdwatch, read by every command that is run in this folder. Each can also be given in the
# environment (BIRDWATCH_STORE=...) or on the command line (--store ...), which count for more.
"""


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
) -> None:
    """Copy the rules, dashboards, notebooks and sample streams out as your own deployment, with a file of settings."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SettingsError(f"{directory} is there and not an empty folder: name another")
    for name in FOLDERS:
        shutil.copytree(content(name), directory / name, ignore=shutil.ignore_patterns("__pycache__", ".keep"))
    (directory / "birdwatch.yaml").write_text(settings_file())
    typer.echo(
        f"{directory} has birdwatch.yaml, {', '.join(FOLDERS)}. Next: cd {directory}, set `streams` in birdwatch.yaml,"
        " then run birdwatch tail and, beside it, birdwatch dashboard --app dashboards/app.py"
    )


def settings_file() -> str:
    """Write a YAML file that has every setting at its default, in a comment with what it is for."""
    import yaml  # noqa: PLC0415 - help should not wait for what only the work needs

    from birdwatch.config import Settings  # noqa: PLC0415

    parts = [_HEAD]
    for name, default in _defaults(Settings).items():
        about = textwrap.fill(Settings.model_fields[name].description or "", 118, break_on_hyphens=False)
        value = yaml.safe_dump({name: default}, sort_keys=False)
        # The rules copied beside this file are the ones to edit, so they are the ones in force.
        line = "rules: detectors\n" if name == "rules" else textwrap.indent(value, "# ")
        parts.append(textwrap.indent(about, "# ") + "\n" + line)
    return "\n".join(parts)


def _defaults(settings: "type[Settings]") -> dict[str, object]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, field in settings.model_fields.items()
        for value in [field.get_default(call_default_factory=True)]
    }
