"""Requests and their scores, sent by a client that is not Birdwatch's, and the answers and decisions that come of them."""

import contextlib
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from .processes import wait_for

__all__ = ["Asking", "Heard"]

DEADLINE_SECONDS = 2.0
UNSCORED = 0.1
SCORED_BEFORE_ASKED = 0.2


class Heard(NamedTuple):
    """What lies in the log of all requests that were acknowledged.

    Attributes
    ----------
    ids
        How many they are.
    lost
        Those without a Result, or without a Decision.
    contradicted
        Those of which a Decision, whichever of several, speaks of another answer than the first Result; or whose Result has
        another's score.
    doubled
        Those with a second Result or a second Decision.
    """

    ids: int
    lost: list[str]
    contradicted: list[str]
    doubled: list[str]


class Asking:
    """Asks from a thread of its own and hears the answers from another; use it as a context.

    Of ten requests one is never scored; of the scores a fifth comes before its request.

    Parameters
    ----------
    servers
        HOST:PORT of the brokers.
    lanes
        How many partitions ``requests`` has.
    rate
        Requests a second.
    """

    def __init__(self, servers: str, lanes: int, rate: int = 40, seed: int = 17) -> None:
        self.lanes = lanes
        self._rate = rate
        self._chance = random.Random(seed)
        self._run = uuid.uuid4().hex[:6]
        self._asked: dict[str, float] = {}
        self._acknowledged: set[str] = set()
        self._refused: list[str] = []
        self._results: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._decisions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._answered: dict[int, float] = {}
        self._ending = threading.Event()
        self._hearing = threading.Event()
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._hear)]
        client = {"bootstrap.servers": servers, "reconnect.backoff.max.ms": 500, "log_level": 0}
        # The partitioner of the Java clients, and of Birdwatch: what belongs to a request must lie in its lane.
        sure = {"acks": "all", "enable.idempotence": True, "message.timeout.ms": 0, "partitioner": "murmur2_random"}
        self._producer = Producer(client | sure)
        self._consumer = Consumer({**client, "group.id": self._run, "enable.auto.commit": False})

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._hearing.set()
        for thread in self._threads:
            thread.join()
        self._consumer.close()

    def alive(self, since: float, seconds: float = 60.0) -> float:
        """Wait until in every lane a request that was asked later has its answer; give how long that took."""
        wait_for(lambda: self._slowest() > since, seconds, lambda: f"{since}: {self._answered}")
        return max(0.0, time.time() - since)

    def _slowest(self) -> float:
        answered = [self._answered.get(lane, 0.0) for lane in range(self.lanes)]
        return min(answered)

    def audit(self, seconds: float = 60.0) -> Heard:
        """Ask no more, wait until all is answered and decided, and a while for what should not come; say what is wrong."""
        self._ending.set()
        self._threads[0].join()
        assert self._producer.flush(60) == 0, "the brokers do not take the requests"
        assert self._refused == []
        with contextlib.suppress(AssertionError):  # the lost are named
            wait_for(lambda: not self._open(), seconds)
        time.sleep(2 * DEADLINE_SECONDS)
        ids = sorted(self._acknowledged)
        doubled = [each for each in ids if len(self._results[each]) > 1 or len(self._decisions[each]) > 1]
        return Heard(len(ids), self._open(), [each for each in ids if self._contradicts(each)], doubled)

    def _open(self) -> list[str]:
        return sorted(each for each in self._acknowledged if not (self._results[each] and self._decisions[each]))

    def _contradicts(self, request_id: str) -> bool:
        if not self._results[request_id]:
            return False
        first = self._results[request_id][0]
        said = {(each["model"], each.get("reason")) for each in self._decisions[request_id]}
        right = first["model"] == "default" or first["score"] == float(request_id.partition("-")[2])
        return not right or said != {(first["model"], first.get("reason"))}

    def _ask(self) -> None:
        number = 0
        began = time.monotonic()
        while not self._ending.wait(0.005):
            while number < (time.monotonic() - began) * self._rate:
                self._send(number)
                number += 1
            self._producer.poll(0)

    def _send(self, number: int) -> None:
        now, name = time.time(), f"{self._run}-{number}"
        request = {"id": name, "ts": now, "received_ts": now, "deadline_seconds": DEADLINE_SECONDS, "features": {}}
        score = {"request_id": name, "request_ts": now, "ts": now, "model": "m", "version": "1", "score": float(number)}
        self._asked[name] = now
        before = self._chance.random() < SCORED_BEFORE_ASKED
        if self._chance.random() >= UNSCORED and before:
            self._put("scores", name, score)
        self._put("requests", name, request, self._acknowledging(name))
        if not before and self._chance.random() >= UNSCORED:
            self._put("scores", name, score)

    def _put(
        self, stream: str, key: str, record: dict[str, Any], delivered: Callable[[Any, Any], None] = lambda *_: None
    ) -> None:
        self._producer.produce(stream, json.dumps(record), key, on_delivery=delivered)

    def _acknowledging(self, name: str) -> Callable[[Any, Any], None]:
        def delivered(error: Any, _message: Any) -> None:
            if error is None:
                self._acknowledged.add(name)
            else:
                self._refused.append(str(error))

        return delivered

    def _hear(self) -> None:
        places = [(stream, lane) for stream in ("results", "metrics") for lane in range(self.lanes)]
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        while not self._hearing.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            record = json.loads(message.value())
            name = record["request_id"]
            if message.topic() == "metrics":
                self._decisions[name].append(record)
            else:
                self._results[name].append(record)
                lane = message.partition()
                self._answered[lane] = max(self._answered.get(lane, 0.0), self._asked.get(name, 0.0))
