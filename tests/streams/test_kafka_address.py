import pytest
from confluent_kafka import KafkaError

from birdwatch.errors import AddressError
from birdwatch.streams import open_streams
from birdwatch.streams.kafka_address import KafkaAddress

ADDRESS = (
    "kafka://a:9092,b:9093?security.protocol=SASL_SSL&sasl.password=hush+%26hush&partitions=6&ssl.key.password=xyz"
)


def test_any_property_of_librdkafka_passes_through():
    at = KafkaAddress.parse(ADDRESS + "&fetch.wait.max.ms=20")
    assert at.servers == "a:9092,b:9093"
    assert at.partitions == 6
    assert at.properties == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "hush+&hush",
        "ssl.key.password": "xyz",
        "fetch.wait.max.ms": "20",
    }


def test_a_property_of_the_address_has_the_last_word_over_our_defaults():
    at = KafkaAddress.parse("kafka://a:9092?acks=1")
    assert at.client({"acks": "all", "linger.ms": "0"}) | {"logger": None} == {
        "reconnect.backoff.max.ms": "2000",
        "acks": "1",
        "linger.ms": "0",
        "bootstrap.servers": "a:9092",
        "logger": None,
    }


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ],
)
def test_a_secret_is_not_printed(name):
    at = KafkaAddress.parse(f"kafka://a:9092?sasl.username=me&{name}=hush")
    assert at.redacted == f"kafka://a:9092?sasl.username=me&{name}=***"
    assert "hush" not in repr(at)


def test_a_secret_that_librdkafka_repeats_is_not_printed():
    at = KafkaAddress.parse(ADDRESS)
    error = at.error(KafkaError(KafkaError._AUTHENTICATION, "no entry for hush+&hush"), "reading scores")
    assert str(error) == (
        "kafka://a:9092,b:9093, reading scores: no entry for ***; "
        "do security.protocol, sasl.mechanisms, sasl.username and sasl.password fit the broker?"
    )


def test_what_topics_get_that_are_made_is_no_property_of_librdkafka():
    at = KafkaAddress.parse("kafka://a:9092?partitions=4&replication=3")
    assert (at.partitions, at.replication, at.properties) == (4, 3, {})
    assert at.redacted == "kafka://a:9092?partitions=4&replication=3"


def test_streams_show_their_address_without_secrets():
    streams = open_streams("kafka://127.0.0.1:1?sasl.password=hush")
    assert streams.address == "kafka://127.0.0.1:1?sasl.password=***"
    streams.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("kafka://", "names no broker"),
        ("kafka:///topic", "names no broker"),
        ("kafka://a:9092?acks", "the property 'acks' has no value"),
        ("kafka://a:9092?partitions=0", "sets partitions to '0': write a number from 1"),
        ("kafka://a:9092?partitions=many", "sets partitions to 'many'"),
        ("kafka://a:9092?replication=0", "sets replication to '0': write a number from 1"),
        ("kafka://a:9092?isolation.level=read_uncommitted", "readers see what was committed"),
        ("kafka://a:9092?group.id=g", "group.id is not yours to set: readers name their group"),
        ("kafka://a:9092?partition.assignment.strategy=cooperative-sticky", "need the assignor range"),
        ("kafka://a:9092?fetch.wait.max=20", 'No such configuration property: "fetch.wait.max"'),
        ("kafka://a:9092?acks=some", "acks"),
        ("kafka://a:9092?error_cb=print", "error_cb"),
    ],
)
def test_an_address_that_cannot_be_used_says_why(address, said):
    with pytest.raises(AddressError) as error:
        open_streams(address)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "address", ["kafka://me:hush@a:9092", "kafka:/a:9092?sasl.password=hush", "kafak://a?password=hush"]
)
def test_a_password_in_an_address_that_cannot_be_used_is_not_printed(address):
    with pytest.raises(AddressError) as error:
        open_streams(address)
    assert "hush" not in str(error.value)
