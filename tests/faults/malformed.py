"""Messages that are no records, each in one of many ways, and each surely so; and what becomes of them."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from .ledger import Ledger

__all__ = ["letters", "malformed"]


def letters(servers: str) -> list[KafkaMessage]:
    """Give all dead letters, by a client that is not Birdwatch's."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "letters", "enable.auto.commit": False})
    _, end = consumer.get_watermark_offsets(TopicPartition("deadletters", 0), timeout=10)
    consumer.assign([TopicPartition("deadletters", 0, 0)])
    found: list[KafkaMessage] = []
    while len(found) < end:
        found += consumer.consume(10_000, 1.0)
    consumer.close()
    return found


def malformed(ledger: Ledger, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give stream and value of message after message that cannot be read as what the stream carries."""
    while True:
        stream, value = chance.choice(list(ledger.messages(chance.randrange(1_000))))
        yield stream, chance.choice(WAYS)(json.loads(value), chance)


def _truncated(row: dict[str, Any], chance: random.Random) -> bytes:
    whole = json.dumps(row).encode()
    return whole[: chance.randrange(len(whole))]


def _noise(_row: dict[str, Any], chance: random.Random) -> bytes:
    return b"\x00" + chance.randbytes(chance.randrange(300))


def _like_arrow(_row: dict[str, Any], chance: random.Random) -> bytes:
    return b"\xff\xff\xff\xff" + chance.randbytes(chance.randrange(60))


def _a_bit_of_structure_gone(row: dict[str, Any], chance: random.Random) -> bytes:
    whole = bytearray(json.dumps(row).encode())
    whole[chance.choice([i for i, byte in enumerate(whole) if byte in b'{}":'])] = 0x01
    return bytes(whole)


def _without_its_id(row: dict[str, Any], _chance: random.Random) -> bytes:
    return json.dumps({name: value for name, value in row.items() if name not in ("id", "request_id")}).encode()


def _without_its_time(row: dict[str, Any], _chance: random.Random) -> bytes:
    return json.dumps({name: value for name, value in row.items() if name not in ("ts", "request_ts")}).encode()


def _of_a_wrong_type(row: dict[str, Any], chance: random.Random) -> bytes:
    wrong = chance.choice([{}, [1], "soon", None, True])
    return json.dumps(row | {"ts" if "id" in row else "request_ts": wrong}).encode()


def _not_an_object(row: dict[str, Any], chance: random.Random) -> bytes:
    return json.dumps(chance.choice([[row], None, 7, "text", True, [[[]]]])).encode()


def _not_utf_8(row: dict[str, Any], _chance: random.Random) -> bytes:
    return (
        json.dumps(row)
        .encode()
        .replace(b'"version": "1"', b'"version": "\xc3\x28"')
        .replace(b'"id": "', b'"id": "\xff')
    )


def _no_json_number(row: dict[str, Any], chance: random.Random) -> bytes:
    value = chance.choice([float("nan"), float("inf"), float("-inf")])
    return json.dumps(row | {"ts" if "id" in row else "request_ts": value}).encode()


def _deep(_row: dict[str, Any], chance: random.Random) -> bytes:
    return b'{"id":' + b"[" * chance.choice([10, 1_000, 20_000])


def _long(row: dict[str, Any], chance: random.Random) -> bytes:
    return json.dumps(row).encode()[:-1] + b" " * chance.choice([100, 30_000])


WAYS: list[Callable[[dict[str, Any], random.Random], bytes]] = [
    *(_truncated, _noise, _like_arrow, _a_bit_of_structure_gone, _without_its_id, _without_its_time) * 8,
    *(_of_a_wrong_type, _not_an_object, _not_utf_8, _no_json_number) * 8,
    *(_deep, _long),
]
"""The long ones are rare."""
