import json

import pytest

from birdwatch.serving.gateway.ask import MOST_BYTES, RefusedError, parse_ask


def refusal(body):
    with pytest.raises(RefusedError) as raised:
        parse_ask(body)
    return raised.value.status, raised.value.reason


def test_features_alone_are_enough():
    ask = parse_ask(b'{"features": {"x": 1}}')
    assert (ask.features, ask.id, ask.ts, ask.key, ask.override) == ({"x": 1}, None, None, None, None)


def test_all_fields_are_read():
    body = {"features": {}, "id": "a", "ts": 1.5, "key": "k", "override": "m"}
    ask = parse_ask(json.dumps(body).encode())
    assert (ask.id, ask.ts, ask.key, ask.override) == ("a", 1.5, "k", "m")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"features": {}} more', 400, "not JSON"),
        (b'{"features": {"a": [1, {"wind": NaN}]}}', 400, "features.a[1].wind = nan"),
        (b'{"features": {"wind": Infinity}}', 400, "features.wind = inf"),
        (b'{"features": {"wind": 1e999}}', 422, "features.wind = inf"),
        (b'{"features": {}, "ts": 1e999}', 422, "ts = inf"),
        (b"[]", 422, "Expected `object`"),
        (b"{}", 422, "features"),
        (b'{"features": [1]}', 422, "$.features"),
        (b'{"features": null}', 422, "$.features"),
        (b'{"features": {}, "id": 7}', 422, "$.id"),
        (b'{"features": {}, "id": ""}', 422, "id: has 0"),
        (b'{"features": {}, "id": "' + b"x" * 129 + b'"}', 422, "id: has 129"),
        (b'{"features": {}, "ts": "now"}', 422, "$.ts"),
        (b'{"features": {}, "ts": true}', 422, "$.ts"),
        (b'{"features": {}, "ts": 1e15}', 422, "ts: 1000000000000000.0"),
        (b'{"features": {}, "key": 1}', 422, "$.key"),
        (b'{"features": {}, "override": ["m"]}', 422, "$.override"),
        (b'{"features": {}, "override": ""}', 422, "override"),
        (b'{"features": {}, "feature": 1}', 422, "feature"),
        (b'{"features": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", 422, "too deeply"),
        (b'{"features": {"a": "' + b"x" * MOST_BYTES + b'"}}', 413, "900000"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words_that_name_the_field(body, status, words):
    given_status, reason = refusal(body)
    assert given_status == status
    assert words in reason
