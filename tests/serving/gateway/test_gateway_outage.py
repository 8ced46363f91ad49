"""A gateway whose log cannot be written or read, or is read by another as well: whoever asks is told in time, and so are people."""

import threading

import pytest

from birdwatch.errors import StreamError
from birdwatch.records import encode
from birdwatch.streams import Changes, Partition

from .gateways import SCHEDULE, a_result, answering, gateway, results, wait_for


def test_a_request_that_cannot_be_written_is_refused_and_may_be_asked_again(streams):
    append = streams.append

    def broken(stream, messages):
        raise StreamError("requests.db: disk full")

    with answering(streams), gateway(streams) as client:
        streams.append = broken
        response = client.post("/v1/score", json={"features": {"x": 1}, "id": "a"})
        assert response.status_code == 503
        assert "disk full" in response.json()["error"]
        streams.append = append
        assert client.post("/v1/score", json={"features": {"x": 1}, "id": "a"}).json()["score"] == 1.0


def test_while_the_log_is_out_of_reach_the_default_is_answered_in_time_counted_and_given_again(streams):
    append, gone = streams.append, threading.Event()

    def after_a_while(stream, messages):  # as a producer does whose broker is gone
        gone.wait(10)
        append(stream, messages)

    with answering(streams), gateway(streams, SCHEDULE) as client:
        streams.append = after_a_while
        body = {"features": {"x": 1}, "id": "a"}
        first = client.post("/v1/score", json=body).json()
        assert (first["reason"], first["within_sla"]) == ("default", True)
        assert "birdwatch_gateway_unconfirmed_total 1.0" in client.get("/metrics").text
        gone.set()
        wait_for(lambda: len(results(streams)) == 2)  # the default was right behind its request
        assert "birdwatch_gateway_contradicted 0.0" in client.get("/metrics").text
        assert client.post("/v1/score", json=body).json()["score"] == first["score"]
        assert client.post("/v1/score", json=body | {"id": "b"}).json()["score"] == 1.0


def test_what_cannot_be_written_is_counted_by_stream(streams):
    def broken(stream, messages):
        raise StreamError("requests.db: disk full")

    with gateway(streams) as client:
        streams.append = broken
        client.post("/v1/score", json={"features": {"x": 1}, "id": "a"})
        assert 'birdwatch_gateway_unwritten_total{stream="requests"} 1.0' in client.get("/metrics").text


def test_while_the_streams_cannot_be_read_it_is_not_ready_and_recovers(streams, monkeypatch):
    monkeypatch.setattr("birdwatch.serving.gateway.wire._RETRY_SECONDS", 0.01)
    with gateway(streams) as client:
        reader = client.gateway._intake._wire._reader
        poll = reader.poll

        def broken(*_):
            raise StreamError("results.db: gone")

        reader.poll = broken
        wait_for(lambda: client.get("/readyz").status_code == 503)
        reader.poll = poll
        wait_for(lambda: client.get("/readyz").status_code == 200)


def test_a_gateway_waits_until_it_has_all_partitions_and_says_who_may_have_them(streams, monkeypatch):
    streams.append("results", [(b"a", encode(a_result("a")))])
    reader_of = streams.reader
    given = []

    def reader(names, **options):
        made = reader_of(names, **options)
        if "results" in names:
            positions = made.positions
            monkeypatch.setattr(made, "positions", lambda: positions() if len(given) > 2 else given.append(1) or {})
        return made

    monkeypatch.setattr(streams, "reader", reader)
    with gateway(streams) as client:
        assert client.post("/v1/score", json={"features": {}, "id": "a"}).json()["model"] == "champion"
    monkeypatch.setattr("birdwatch.serving.gateway.wire._PATIENCE_SECONDS", -1.0)
    given.clear()
    with (
        pytest.raises(StreamError, match=r"another process reads partition 0 of 'results' as 'gateway'.*--name"),
        gateway(streams),
    ):
        pass


def test_a_gateway_says_when_another_process_read_its_answers(streams, capsys):
    with gateway(streams) as client:
        reader = client.gateway._intake._wire._reader
        lost = [Changes(frozenset({Partition("results")}), {})]
        reader.changes = lambda: lost.pop() if lost else Changes(frozenset(), {})
        wait_for(lambda: "results were read by another process as 'gateway'" in capsys.readouterr().err)
