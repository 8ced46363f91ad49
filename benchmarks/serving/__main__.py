"""How fast the pipeline answers: through all its processes, beside the same model called directly in the same minutes.

About two minutes: .venv/bin/python benchmarks/serving [--quick] [--json FILE] [--kafka [ADDRESS]]
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import report
from client import Answer, Round, ask
from processes import Processes, broker, direct, pipeline
from rich.console import Console
from rich.progress import Progress

from birdwatch.records import Result, Score, decode
from birdwatch.streams import open_streams

IN_FLIGHT = 32
PERCENTILES = (50, 90, 99, 99.9)
IDLE_SECONDS = 3.0


class Plan(NamedTuple):
    """How often, and how many requests each time."""

    rounds: int
    alone: int
    together: int
    idles: int


FULL = Plan(rounds=7, alone=1000, together=5000, idles=5)
QUICK = Plan(rounds=3, alone=200, together=1000, idles=3)


class Bench:
    """Measures by a plan, in rounds: direct and through the pipeline in turns, so that both share the machine's moods."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress

    def measure(self, name: str, folder: Path, address: str) -> dict[str, Any]:
        """Give the figures of a pipeline over some streams."""
        plan = self._plan
        task = self._progress.add_task(name, total=2 * plan.rounds + plan.idles)
        figures: dict[str, Any] = {"rounds": []}
        asked: list[Round] = []
        with direct() as plain, pipeline(folder, address) as piped:
            warm_up(plain, piped)
            for _ in range(plan.rounds):
                one: dict[str, Any] = {}
                for in_flight, requests in ((1, plan.alone), (IN_FLIGHT, plan.together)):
                    one[f"direct {in_flight}"] = summary(ask(plain.url, requests, in_flight))
                    before = piped.cpu_seconds()
                    through = ask(piped.url, requests, in_flight)
                    cpu = {part: (seconds - before[part]) / requests for part, seconds in piped.cpu_seconds().items()}
                    one[f"pipeline {in_flight}"] = {**summary(through), "cpu_seconds": cpu}
                    if in_flight == 1:
                        asked.append(through)
                    self._progress.advance(task)
                figures["rounds"].append(one)
            figures["first_after_idleness"] = []
            before = piped.cpu_seconds()
            for _ in range(plan.idles):
                time.sleep(IDLE_SECONDS)
                figures["first_after_idleness"] += ask(piped.url, 1).each
                self._progress.advance(task)
            idle = sum(piped.cpu_seconds().values()) - sum(before.values())
            figures["idle_cores"] = idle / (plan.idles * IDLE_SECONDS)
        figures["stages"] = stages(address, asked)
        return figures

    def one_is_slow(self, folder: Path) -> dict[str, Any]:
        """Give p99 of each round with three fast models, and with two and a slow one."""
        task = self._progress.add_task("one model slow", total=2 * self._plan.rounds)
        found: dict[str, list[float]] = {"fast": [], "slow": []}
        with ExitStack() as stack:
            # Both stand ready all the time, so that they share whatever else goes on in the machine.
            piped = {
                third: stack.enter_context(pipeline(folder / kind, f"sqlite:{folder / kind}/streams", third=third))
                for kind, third in (("fast", "same"), ("slow", "slow"))
            }
            warm_up(*piped.values())
            for _ in range(self._plan.rounds):
                for kind, third in (("fast", "same"), ("slow", "slow")):
                    found[kind].append(float(np.percentile(ask(piped[third].url, self._plan.alone).each, 99)))
                    self._progress.advance(task)
        return found


def warm_up(*servers: Processes) -> None:
    """Ask until streams exist, connections are made and caches are warm."""
    for server in servers:
        for _ in range(100):
            if all(answer.reason == "first choice" for answer in ask(server.url, 50, 8).answers):
                break
        else:
            raise RuntimeError("the first model does not answer in time, however often it is asked")


def summary(done: Round) -> dict[str, Any]:
    """Give percentiles in seconds, requests a second, and how many were not answered by the first choice."""
    return {
        "percentiles": dict(zip(map(str, PERCENTILES), np.percentile(done.each, PERCENTILES).tolist(), strict=True)),
        "per_second": len(done.each) / done.seconds,
        "otherwise": sum(answer.reason != "first choice" for answer in done.answers),
    }


def stages(address: str, asked: list[Round]) -> dict[str, dict[str, float]]:
    """Give, from the records that requests left on the streams, how long each part of the way took (p50 and p99)."""
    took: dict[str, tuple[float, Answer]] = {
        answer.id: (seconds, answer) for each in asked for seconds, answer in zip(each.each, each.answers, strict=True)
    }
    scores: dict[str, Score] = {}
    results: dict[str, Result] = {}
    streams = open_streams(address)
    reader = streams.reader(["scores", "results"])
    while messages := reader.poll(timeout=2.0):
        for message in messages:
            if message.stream == "results":
                result = decode(message.value, Result)
                results.setdefault(result.request_id, result)
            elif (score := decode(message.value, Score)).model == "champion":
                scores.setdefault(score.request_id, score)
    reader.close()
    streams.close()
    ways = []
    for request_id, (seconds, answer) in took.items():
        score, result = scores.get(request_id), results[request_id]
        if score is not None and result.reason == "first choice":
            queue, model = score.queue_seconds or 0.0, score.elapsed_seconds or 0.0
            rest = (result.latency_seconds - queue - model, answer.latency_seconds - result.latency_seconds)
            ways.append((queue, model, *rest, seconds - answer.latency_seconds))
    p50, p99 = np.percentile(np.array(ways), (50, 99), axis=0)
    return {stage: {"50": float(p50[i]), "99": float(p99[i])} for i, stage in enumerate(report.STAGES)}


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="Fewer requests: half a minute, and rough figures.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    options.add_argument(
        "--kafka",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="Measure over Kafka too: a broker that serves nothing else, or one started here (needs Java and Maven).",
    )
    given = options.parse_args()
    figures: dict[str, Any] = {"machine": report.machine()}
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as temporary,
        ExitStack() as stack,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        folder = Path(temporary)
        bench = Bench(QUICK if given.quick else FULL, progress)
        figures["sqlite"] = bench.measure("SQLite", folder / "sqlite", f"sqlite:{folder}/sqlite/streams")
        figures["one_slow"] = bench.one_is_slow(folder)
        if given.kafka is not None:
            address = given.kafka or stack.enter_context(broker())
            figures["kafka"] = bench.measure("Kafka", folder / "kafka", address)
    sys.stdout.write(report.markdown(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
