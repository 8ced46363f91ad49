"""Counts what lies on the topics again, in one go, by another client and with plain loops: what the panes must hold."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store

from .ledger import COUNTED, STREAMS, Ledger, bin_of

__all__ = ["in_store", "recount"]

Histograms = dict[tuple[int, Series], dict[int, int]]
"""By pane and series, how many are in each bin."""

Rows = dict[str, dict[tuple[str, str], dict[str, Any]]]
"""By stream, then by request and model, what was said first."""


def recount(servers: str, ledger: Ledger, until: int) -> Histograms:
    """Give the ledger's histograms, and the sums of the pairs, of all panes that end by ``until``."""
    counted: dict[tuple[int, Series], Counter[int]] = {}
    for ts, series, grid_bin, amount in _counts(_rows(servers, ledger.run)):
        pane = int(ts // ledger.pane_seconds) * ledger.pane_seconds
        if pane + ledger.pane_seconds <= until:
            counted.setdefault((pane, series), Counter())[grid_bin] += amount
    return {place: {b: n for b, n in sorted(bins.items()) if n} for place, bins in counted.items()}


def in_store(store: Store, ledger: Ledger, until: int) -> Histograms:
    """Give the same of a store."""
    return {
        (start, series): dict(zip(counts.bins.tolist(), counts.counts.tolist(), strict=True))
        for start, series, counts in store.rows(ledger.start, until)
        if series in COUNTED or series.measure == "pair"
    }


def _counts(rows: Rows) -> Iterator[tuple[float, Series, int, int]]:
    """Give each count: event time, series, bin, amount."""
    for row in rows["requests"].values():
        yield row["ts"], Series("feature.n"), bin_of(row["features"]["n"]), 1
    for row in (*rows["scores"].values(), *rows["canary"].values()):
        yield row["request_ts"], Series("score", row["model"], row["version"]), bin_of(row["score"]), 1
    for row in rows["metrics"].values():
        series = Series("latency.answer", row["model"], row["version"])
        yield row["request_ts"], series, bin_of(row["latency_seconds"]), 1
    for (name, model), row in rows["scores"].items():
        if model != "champion" and (name, "champion") in rows["scores"]:
            yield from _compared(row, rows["scores"][name, "champion"])
        if model == "champion" and (name, "canary") in rows["canary"]:
            yield from _compared(row, rows["canary"][name, "canary"])


def _compared(model: dict[str, Any], partner: dict[str, Any]) -> Iterator[tuple[float, Series, int, int]]:
    pair = (model["model"], model["version"], partner["model"])
    d = model["score"] - partner["score"]
    yield model["request_ts"], Series("difference", *pair), bin_of(d), 1
    clipped = min(max(d, -256.0), 256.0)
    sums = (1, round(clipped * 2**20), -(-clipped * clipped * 2**20 // 1), clipped != d)
    for place, amount in enumerate(map(int, sums)):
        yield model["request_ts"], Series("pair", *pair), place, amount


def _rows(servers: str, run: str) -> Rows:
    """Read all that one run of the traffic has left on the topics."""
    rows: Rows = {stream: {} for stream in STREAMS}
    for stream, value in _messages(servers):
        try:
            row = json.loads(value)
            name = row["id"] if stream == "requests" else row["request_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # malformed, on purpose
        if str(name).startswith(run):
            rows[stream].setdefault((name, row.get("model", "")), row)
    return rows


def _messages(servers: str) -> Iterator[tuple[str, bytes]]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "recount", "enable.auto.commit": False})
    topics = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(stream, number) for stream in STREAMS for number in topics[stream].partitions]
    spans = {(at.topic, at.partition): consumer.get_watermark_offsets(at, timeout=10) for at in places}
    consumer.assign([TopicPartition(*at, first) for at, (first, _) in spans.items()])
    left = {at for at, (first, end) in spans.items() if end > first}
    while left:
        for message in consumer.consume(10_000, 1.0):
            at = (message.topic(), message.partition())
            yield message.topic(), message.value()
            if message.offset() + 1 >= spans[at][1]:
                left.discard(at)
    consumer.close()
