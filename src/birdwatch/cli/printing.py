"""How `evaluate` prints what it found: tables for people, JSON for programs."""

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_records", "print_json", "print_table"]


def as_records(table: "pd.DataFrame") -> Any:
    """Give a table as JSON has it, a mapping a row; an index that has a name is a column."""
    named = table if table.index.name is None else table.reset_index()
    return json.loads(named.to_json(orient="records", date_format="iso", double_precision=15))


def print_json(found: dict[str, Any]) -> None:
    """Print what was found as one line of JSON."""
    import msgspec  # noqa: PLC0415 - help should not wait for it

    typer.echo(msgspec.json.encode(found))  # NaN becomes null: JSON has no word for it


def print_table(table: "pd.DataFrame") -> None:
    """Print a table to the width of the terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    shown = Table(*(str(name).replace("_", " ") for name in table.columns), box=None)
    for row in table.itertuples(index=False):
        shown.add_row(*(_cell(x) for x in row))
    Console().print(shown, markup=False)


def _cell(x: Any) -> str:
    import pandas as pd  # noqa: PLC0415

    if isinstance(x, pd.Timestamp):
        return f"{x:%Y-%m-%d %H:%M}"
    if isinstance(x, float):
        return "–" if x != x else f"{x:.4g}"  # noqa: PLR0124 - NaN alone is not itself
    return f"{x:,}" if isinstance(x, int) and not isinstance(x, bool) else str(x)
