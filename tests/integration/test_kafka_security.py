"""A broker that asks who one is, over TLS, and lets nobody do what they may not."""

import subprocess

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from birdwatch.errors import StreamError
from birdwatch.streams import Partition, open_streams

from .kafka_polling import poll_until

pytestmark = pytest.mark.integration

SECRET = "h&sh=me+"  # noqa: S105 - that of a broker which lives for a minute
SAID = "h%26sh%3Dme+"

PROPERTIES = """
listeners=SASL_SSL://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=SASL_SSL://127.0.0.1:{{port}}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=SASL_SSL
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="admin" password="admins" user_admin="admins" user_reader="{secret}" user_writer="{secret}";
ssl.keystore.type=PKCS12
ssl.keystore.location={folder}/broker.p12
ssl.keystore.password=storage
ssl.key.password=storage
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, for the broker and for those who trust it."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    store = ["openssl", "pkcs12", "-export", "-in", "ca.pem", "-inkey", "key.pem", "-out", "broker.p12"]
    subprocess.run([*store, "-passout", "pass:storage"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def cluster(kafka_cluster, folder):
    admin = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "admin",
        "sasl.password": "admins",
        "ssl.ca.location": str(folder / "ca.pem"),
    }
    with kafka_cluster(properties=PROPERTIES.format(folder=folder, secret=SECRET), client=admin) as cluster:
        yield cluster


@pytest.fixture
def as_user(cluster, folder):
    opened = []

    def as_user(name, password=SAID, options=""):
        opened.append(
            open_streams(
                f"kafka://{cluster.address}?security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&sasl.username={name}"
                f"&sasl.password={password}&ssl.ca.location={folder}/ca.pem&log_level=0{options}"
            )
        )
        return opened[-1]

    yield as_user
    for streams in opened:
        streams.close()


@pytest.fixture
def allow(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.address, **cluster.brokers[0].client})

    def allow(user, kind, name, *operations):
        bindings = [
            AclBinding(kind, name, ResourcePatternType.PREFIXED, f"User:{user}", "*", each, AclPermissionType.ALLOW)
            for each in operations
        ]
        for future in admin.create_acls(bindings).values():
            future.result(20.0)

    return allow


def test_who_may_not_make_topics_is_told_what_to_ask_for(as_user, allow):
    with pytest.raises(StreamError) as error:
        as_user("writer").append("forbidden", [(b"", b"{}")])
    for said in (
        "making the topic forbidden, partitions: 1",
        "right (ACL)",
        "--create --topic forbidden --partitions 1",
    ):
        assert said in str(error.value)
    assert SECRET not in str(error.value)


def test_with_the_rights_named_in_the_guide_records_are_written_and_read(as_user, allow):
    op = AclOperation
    allow("writer", ResourceType.TOPIC, "scores", op.WRITE, op.DESCRIBE, op.CREATE)
    allow("reader", ResourceType.TOPIC, "scores", op.READ, op.DESCRIBE)
    allow("reader", ResourceType.GROUP, "tail", op.READ)
    as_user("writer").append("scores", [(b"", b"{}")])
    streams = as_user("reader")
    with pytest.raises(StreamError, match=r"appending to scores.*right \(ACL\)"):
        streams.append("scores", [(b"", b"{}")])
    reader = streams.reader(["scores"], group="tail")
    poll_until([reader], lambda: reader.positions() == {Partition("scores"): 1})
    reader.commit()
    assert reader.confirm()
    reader.close()
    assert streams.committed("tail", ["scores"]) == {Partition("scores"): 1}
    stranger = streams.reader(["scores"], group="another")
    with pytest.raises(StreamError, match=r"right \(ACL\) to use the group"):
        poll_until([stranger], lambda: False)
    stranger.close()


@pytest.mark.parametrize("options", ["", "&ssl.ca.location=/etc/hostname"])
def test_who_is_not_let_in_is_told_so_and_no_secret_is_printed(as_user, options, caplog):
    with pytest.raises(StreamError) as error:
        as_user("reader", "wr%26ng", options).names()
    assert "wr&ng" not in str(error.value) + caplog.text
    assert "wr%26ng" not in str(error.value) + caplog.text
