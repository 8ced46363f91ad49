"""The figures as Markdown: who took what, who found what had moved, and who was quiet where nothing had."""

from statistics import median
from typing import Any, Final

from benchmarks.peers.environments import PEERS
from benchmarks.peers.scores import MODELS, MOVED, SHIFT

__all__ = ["markdown"]

_HEAD: Final = (
    "",
    "versions",
    "CPU",
    "wall",
    "peak memory",
    "found the one that moved",
    "false alarms of",
    "what it works out",
)


def markdown(figures: dict[str, Any]) -> str:
    """Give a table for each number of scores: medians of the rounds."""
    about = figures["machine"]
    parts = [
        (
            f"{about['cores']} cores ({about['cpu']}), {about['system']}, Python {about['python']}; load average at the start"
            f" {about['load_at_start']}.\n"
        )
    ]
    quiet = 2 * len(MODELS) - 1
    for scores, measured in figures["scores"].items():
        parts.append(
            f"**{int(scores):,} scores** of {len(MODELS)} models, as many of the reference; of one model they moved by {SHIFT:g}"
            " standard deviations\n"
        )
        parts += [f"| {' | '.join(_HEAD)} |", f"| --- | --- |{' ---: |' * 3} :---: | :---: | --- |"]
        parts += [_row(name, rounds, figures["versions"][name], quiet) for name, rounds in measured.items()]
        parts.append("")
    held = [f"- {name}: {peer.why}." for name, peer in PEERS.items() if peer.why]
    return "\n".join([*parts, "Held back, or added:", "", *held, ""])


def _row(name: str, rounds: dict[str, list[dict[str, Any]]], versions: dict[str, str], quiet: int) -> str:
    told = ", ".join(versions.values())
    every = [one for part in rounds.values() for one in part]
    failed = [one["failed"] for one in every if "failed" in one]
    if failed:
        return f"| {name} | {told} |  |  |  |  |  | {failed[0]} |"
    cpu, wall, peak = (median(one[key] for one in every) for key in ("cpu", "wall", "peak"))
    found = MOVED in rounds["moved"][0]["moved"]
    false = len(rounds["unchanged"][0]["moved"]) + len(set(rounds["moved"][0]["moved"]) - {MOVED})
    return (
        f"| {name} | {told} | {cpu:.2f} s | {wall:.2f} s | {peak / 1e6:,.0f} MB | {'yes' if found else '**no**'} |"
        f" {false} of {quiet} | {PEERS[name].asked} |"
    )
