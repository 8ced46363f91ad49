"""What the reports of several benchmarks share: on what it was measured, tables, and whether a target is met."""

from typing import Any

__all__ = ["Row", "about", "met", "table"]

Row = tuple[str, ...]


def about(machine: dict[str, Any]) -> str:
    """Say in a sentence what `benchmarks.machine.machine` has found."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['system']}, Python {machine['python']}, {packages}; load average at"
        f" the start {machine['load_at_start']}."
    )


def table(head: Row, rows: list[Row], left: int = 1) -> str:
    """Give a table in Markdown, of which the first ``left`` columns are text and the others numbers."""
    lines = [head, tuple("---" if i < left else "---:" for i in range(len(head))), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def met(is_so: bool) -> str:
    """Say whether a target is met."""
    return "yes" if is_so else "**no**"
