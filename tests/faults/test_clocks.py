"""Clocks that are wrong: what cannot be is out of range and counted so, and event time goes on as before."""

import json
import time

import pytest

from .ledger import Ledger
from .malformed import letters
from .observing import make_topics
from .processes import wait_for
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

ROUNDS = chosen(ci=1, nightly=30)
HOUR = 3600.0
CLOCKS = {
    "an hour ahead": lambda ts: ts + HOUR,
    "an hour behind": lambda ts: ts - HOUR,
    "in 1970": lambda ts: ts % HOUR,
    "in 9999": lambda ts: 253_370_764_800.0 + ts % HOUR,
    "in milliseconds": lambda ts: ts * 1000,
    "before 1970": lambda ts: -ts,
}
ONLY_LATE = {"an hour behind"}


def test_clocks_that_are_wrong_move_nothing(servers, observe, faults):
    make_topics(servers)
    watching = observe(servers)
    ledger, others, alive, sent = Ledger(rate=100), Ledger(rate=100), [], []
    with Traffic(servers, ledger) as traffic:
        watching.start()
        for n in range(ROUNDS):
            for clock, wrong in CLOCKS.items():
                for stream, value in others.messages(n):
                    row = json.loads(value)
                    moved = {name: wrong(row[name]) for name in ("ts", "request_ts") if name in row}
                    traffic.produce(stream, json.dumps(row | moved).encode())
                    sent.append(clock)
            alive.append(watching.alive(time.time()))
        found = watching.audit(ledger)
        wait_for(lambda: len(letters(servers)) >= sum(clock not in ONLY_LATE for clock in sent))
    reasons = [json.loads(letter.value())["reason"] for letter in letters(servers)]
    late = sum(clock in ONLY_LATE for clock in sent)
    faults.survived(
        "clocks an hour off, in 1970, in 9999, in milliseconds",
        rounds=ROUNDS,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note=f"{len(reasons):,} messages out of range, each a dead letter; {late} an hour behind, counted as late",
    )
    assert len(reasons) == len(sent) - late
    assert watching.late() == late
