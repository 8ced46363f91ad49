"""The figures as Markdown, beside what they should be."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import apsw

__all__ = ["STAGES", "machine", "markdown"]

STAGES = (
    "gateway, the log, the runner's queue",
    "the model",
    "the log, the rendezvous",
    "the log, the gateway",
    "HTTP and the client",
)
PLACES = {"sqlite": "SQLite", "kafka": "Kafka"}
Row = tuple[str, ...]


def machine() -> dict[str, Any]:
    """Say on what is measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    packages = ("birdwatch", "uvicorn", "uvloop", "httptools", "starlette", "msgspec", "confluent-kafka")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0] if models else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "packages": {name: version(name) for name in packages},
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def markdown(figures: dict[str, Any]) -> str:
    """Give all tables."""
    about = figures["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    system = f"{about['system']}, Python {about['python']}, SQLite {about['sqlite']}, {packages}"
    parts = [
        f"{about['cores']} cores ({about['cpu']}), {system}; load average at the start {about['load_at_start']}.\n"
    ]
    for key, name in PLACES.items():
        if key in figures:
            parts += _place(name, figures[key], figures["one_slow"] if key == "sqlite" else None)
    return "\n".join(parts)


def _place(name: str, found: dict[str, Any], one_slow: dict[str, list[float]] | None) -> list[str]:
    rounds = found["rounds"]
    above = {
        p: median(r["pipeline 1"]["percentiles"][p] - r["direct 1"]["percentiles"][p] for r in rounds)
        for p in ("50", "99")
    }
    rate = median(r["pipeline 32"]["per_second"] for r in rounds)
    first = max(found["first_after_idleness"])
    # fmt: off
    targets: list[Row] = [
        ("p50 above a direct call", _ms(above["50"]), "≤ 5 ms", _met(above["50"] <= 0.005)),
        ("p99 above a direct call", _ms(above["99"]), "≤ 15 ms", _met(above["99"] <= 0.015)),
        ("requests/s, 32 in flight", f"{rate:,.0f}", "≥ 1,000", _met(rate >= 1000)),
        (f"first request after 3 s of silence, slowest of {len(found['first_after_idleness'])}", _ms(first), "≤ 60 ms", _met(first <= 0.06)),
    ]
    # fmt: on
    if one_slow:
        fast, slow = one_slow["fast"], one_slow["slow"]
        spread = f"{_ms(median(slow))}; without {_ms(median(fast))} ({_ms(min(fast))} to {_ms(max(fast))})"
        targets.append(("p99, one of three models at 10 s", spread, "within the rounds without", _met(median(slow) <= max(fast))))  # fmt: skip
    kinds = ("direct 1", "pipeline 1", "direct 32", "pipeline 32")
    shares = [
        (
            *kind.split(),
            *(_ms(median(r[kind]["percentiles"][p] for r in rounds)) for p in ("50", "90", "99", "99.9")),
            f"{median(r[kind]['per_second'] for r in rounds):,.0f}",
            str(sum(r[kind]["otherwise"] for r in rounds)),
        )
        for kind in kinds
    ]
    ways = [(stage, _ms(took["50"]), _ms(took["99"])) for stage, took in found["stages"].items()]
    cpu = _by_process(lambda part, kind: _ms(median(r[kind]["cpu_seconds"][part] for r in rounds)), rounds)
    total = [
        _ms(median(sum(r[kind]["cpu_seconds"].values()) for r in rounds)) for kind in ("pipeline 1", "pipeline 32")
    ]
    return [
        f"**{name}**, medians of {len(rounds)} rounds\n",
        _table(("", "measured", "target", "met"), targets),
        _table(("", "in flight", "p50", "p90", "p99", "p99.9", "requests/s", "not by the first choice"), shares),
        "Where the time of a request goes, one at a time:\n",
        _table(("", "p50", "p99"), ways),
        f"CPU time a request; idle, all processes together take {found['idle_cores']:.1%} of a core:\n",
        _table(("process", "one at a time", "32 in flight"), [*cpu, ("all", *total)]),
    ]


def _by_process(show: Callable[[str, str], str], rounds: list[dict[str, Any]]) -> list[Row]:
    return [
        (part, show(part, "pipeline 1"), show(part, "pipeline 32")) for part in rounds[0]["pipeline 1"]["cpu_seconds"]
    ]


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, tuple("---" if i == 0 else "---:" for i in range(len(head))), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _met(is_so: bool) -> str:
    return "yes" if is_so else "**no**"
