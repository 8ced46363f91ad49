import pytest

from birdwatch.errors import ServingError
from birdwatch.records import Control, Token, encode
from birdwatch.serving.features.cuts import Swap, read_requests, read_swaps, swap_in
from birdwatch.testing import MemoryStreams, a_request


def control(action="swap", **params):
    return Control(ts=0, action=action, author="ann", reason="?", params={"component": "features", **params})


def put(streams, *records):
    streams.append("requests", [(b"", record if isinstance(record, bytes) else encode(record)) for record in records])


def request(x, by="g"):
    return a_request(features={"x": x}, reply_to=by)


def token(name, by="g", component="features"):
    return Token(token=name, component=component, to="a:b", by=by)


def test_a_swap_names_its_token_and_what_takes_over():
    assert swap_in(control(token="t", target="a:b", config={"x": 1})) == Swap("t", "a:b", {"x": 1})
    assert swap_in(control(token="t")) == Swap("t", None)  # nothing is injected from then on
    assert swap_in(Control(ts=0, action="hold", author="a", reason="?", model="m")) is None
    with pytest.raises(ServingError, match="need a token and a target"):
        swap_in(control(target="a:b"))


def test_control_is_read_for_all_swaps_and_for_those_that_a_gateway_has_done():
    streams = MemoryStreams()
    records = [
        control(token="t1", target="a:b"),
        control(token="t1", target="said:twice"),
        control("swapped", token="t1", by="g"),
        control("swapped", token="t2", by="another"),
        control(target="lacks:the_token"),
        control(token="t2", target="c:d"),
    ]
    streams.append("control", [(b"", encode(record)) for record in records] + [(b"", b"{")])
    assert read_swaps(streams, "g") == ([Swap("t1", "a:b"), Swap("t2", "c:d")], {"t1"})
    assert read_swaps(MemoryStreams(), "g") == ([], set())


def test_requests_are_told_apart_by_the_token_after_which_they_lie():
    streams = MemoryStreams()
    put(streams, request(1), request(2, "another"), token("t1", "another"), token("r", component="rendezvous"), b"{")
    put(streams, request(3), token("t1"), request(4), token("t1"), request(5), token("t2"), request(6))
    logged = read_requests(streams, "g", {})
    assert {name: [each.features["x"] for each in found] for name, found in logged.phases.items()} == {
        None: [1, 3],
        "t1": [4, 5],
        "t2": [6],
    }
    assert logged.cuts == {"t1": {0: 6}, "t2": {0: 10}}
    assert read_requests(streams, "g", {}, first_phase=False).phases[None] == []
