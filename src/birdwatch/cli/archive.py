"""``birdwatch archive``: look after what the decoy keeps."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Look after an archive.")


@app.callback()
def _root() -> None:
    """Look after what the decoy keeps."""


@app.command("verify")
def verify_(
    directory: Annotated[Path, typer.Argument(help="The archive, or a part of it.", exists=True, file_okay=False)],
    put_aside: Annotated[
        bool, typer.Option("--put-aside", help="Rename damaged files: the decoy archives their offsets again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every byte of an archive and name the files that are damaged; exit 1 if there are any.

    Nothing is deleted: a file that is put aside gets a name that ends in `.damaged`. The next start of `birdwatch serve
    decoy` archives again what only such files hold, as far as the log still has it.
    """
    from birdwatch.archive import verify as verifying  # noqa: PLC0415 - help should not wait for pyarrow

    found = []
    for path, reason in verifying.verify(directory):
        aside = str(verifying.put_aside(path)) if put_aside else None
        found.append({"path": str(path), "reason": reason, "put_aside": aside})
        if not as_json:
            typer.echo(f"{path}: {reason}{f'; it is kept as {aside}' if aside else ''}")
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("nothing is damaged")
    raise typer.Exit(1 if found else 0)
