"""An address of Kafka: where it is, how to speak with it, and what of that may be printed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import unquote

from confluent_kafka import KafkaError, KafkaException

# ruff: noqa: SLF001 - librdkafka's names for its own errors begin with an underscore
from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.kafka_log import LOG

__all__ = ["KafkaAddress"]

_SECRET: Final = re.compile(r"passphrase|password|secret|oauthbearer|\.pem$|jaas", re.IGNORECASE)
_RESERVED: Final = {
    "auto.offset.reset": "readers begin where their start says",
    "bootstrap.servers": "write kafka://HOST:PORT",
    "delivery.report.only.error": "every delivery is checked",
    "enable.auto.commit": "readers commit when they have done their work",
    "enable.auto.offset.store": "readers commit when they have done their work",
    "enable.partition.eof": "readers need it to know how far they are",
    "group.id": "readers name their group",
    "group.instance.id": "each reader is a member of its own",
    "group.protocol": "readers that join streams need the assignor range",
    "isolation.level": "readers see what was committed",
    "partition.assignment.strategy": "readers that join streams need the assignor range",
    "transactional.id": "each process has its own",
}
_COUNTS: Final = ("partitions", "replication")

# A broker that comes back is found again within seconds, not after the minute that doubling ends in.
_CLIENT: Final = {"reconnect.backoff.max.ms": "2000"}
_REMEDIES: Final = {
    KafkaError._TRANSPORT: "is Kafka running there, and does a firewall let you through?",
    KafkaError._ALL_BROKERS_DOWN: "is Kafka running there, and does a firewall let you through?",
    KafkaError._TIMED_OUT: "is Kafka running there, and does a firewall let you through?",
    KafkaError._MSG_TIMED_OUT: "is Kafka running there, and does a firewall let you through?",
    KafkaError._RESOLVE: "is the host's name right?",
    KafkaError._SSL: "do security.protocol and ssl.ca.location fit the broker?",
    KafkaError._AUTHENTICATION: "do security.protocol, sasl.mechanisms, sasl.username and sasl.password fit the broker?",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "ask for the right (ACL) to read, write or create the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "ask for the right (ACL) to do this on the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "ask for the right (ACL) to write with transactional ids that begin with the group's name",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "ask for the right (ACL) to use the group",
    KafkaError.INVALID_REPLICATION_FACTOR: "are there as many brokers as replication= says?",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise message.max.bytes in the address, and max.message.bytes of the topic",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "was the topic deleted?",
    KafkaError.TOPIC_EXCEPTION: "a topic's name has letters, digits, '.', '_' and '-'",
}


@dataclass(frozen=True)
class KafkaAddress:
    """What ``kafka://HOST:PORT?property=value`` says; its ``repr`` says no secret.

    Attributes
    ----------
    partitions, replication
        What topics get that are made; for a replication of 0 the brokers decide.
    """

    servers: str
    partitions: int
    replication: int
    properties: Mapping[str, str]

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read an address.

        Raises
        ------
        AddressError
            No host, a user before it, or a property that cannot be set; no secret is in the message.
        """
        servers, _, query = address.removeprefix("kafka://").partition("?")
        servers = servers.rstrip("/")
        if "@" in servers:
            raise AddressError(
                "an address of Kafka names no user before the host: write kafka://HOST:PORT?sasl.username=…&sasl.password=…"
            )
        if not servers or "/" in servers:
            raise AddressError(f"'kafka://{servers}' names no broker: write kafka://HOST:PORT")
        properties: dict[str, str] = {}
        # By hand: in a form '+' would mean a space, in a password it is a '+'.
        for item in filter(None, query.split("&")):
            name, equals, value = item.partition("=")
            if not equals:
                raise AddressError(f"kafka://{servers}: the property {name!r} has no value: write {name}=VALUE")
            if name in _RESERVED:
                raise AddressError(f"kafka://{servers}: {name} is not yours to set: {_RESERVED[name]}")
            properties[name] = unquote(value)
        counts = {name: properties.pop(name) for name in _COUNTS if name in properties}
        for name, said in counts.items():
            if not said.isdecimal() or int(said) < 1:
                raise AddressError(f"kafka://{servers} sets {name} to {said!r}: write a number from 1")
        return cls(servers, int(counts.get("partitions", 1)), int(counts.get("replication", 0)), properties)

    @property
    def redacted(self) -> str:
        """The address with secrets replaced by ``***``."""
        said = {"partitions": str(self.partitions)} if self.partitions != 1 else {}
        said |= {"replication": str(self.replication)} if self.replication else {}
        said |= {name: "***" if _SECRET.search(name) else value for name, value in self.properties.items()}
        query = "&".join(f"{name}={value}" for name, value in said.items())
        return f"kafka://{self.servers}" + (f"?{query}" if query else "")

    def client(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give the configuration of a client: ``settings`` are the defaults, the address has the last word."""
        return {"logger": LOG, **_CLIENT, **(settings or {}), **self.properties, "bootstrap.servers": self.servers}

    def explain(self, error: KafkaError | Exception) -> str:
        """Say an error of librdkafka without secrets."""
        inner = error.args[0] if isinstance(error, KafkaException) else error
        text = inner.str() if isinstance(inner, KafkaError) else str(inner)
        for name, value in self.properties.items():
            if value and _SECRET.search(name):
                text = text.replace(value, "***")
        return text

    def error(self, error: KafkaError | KafkaException, doing: str) -> StreamError:
        """Make a `StreamError` that names the brokers, what was being done, and what may help."""
        inner = error.args[0] if isinstance(error, KafkaException) else error
        remedy = _REMEDIES.get(inner.code()) if isinstance(inner, KafkaError) else None
        return StreamError(
            f"kafka://{self.servers}, {doing}: {self.explain(error)}" + (f"; {remedy}" if remedy else "")
        )

    def __repr__(self) -> str:
        return f"KafkaAddress({self.redacted!r})"
