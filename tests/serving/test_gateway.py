import json
import threading
from contextlib import contextmanager
from functools import partial

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from birdwatch.errors import StreamError
from birdwatch.records import Control, Request, Result, decode, encode
from birdwatch.serving.gateway import Gateway
from birdwatch.serving.schedule import parse_schedule
from birdwatch.testing import MemoryStreams, a_request

# Short, where a test waits for the deadline; the clock is the real one, since the event loop has its own.
SCHEDULE = {"version": "v", "default": 0.1, "deadline_seconds": 0.2, "return_margin_seconds": 0.1}
PATIENT = SCHEDULE | {"deadline_seconds": 30.0}


def schedule(**values):
    return parse_schedule({"tiers": [{"models": ["champion"]}]} | values, place="test")


@pytest.fixture
def streams():
    return MemoryStreams()


class Client:
    """Calls a gateway's application in its event loop, from any thread."""

    def __init__(self, portal, made):
        transport = httpx.ASGITransport(made.app)
        self.gateway = made
        self._portal = portal
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60)

    def post(self, path, **content):
        return self._portal.call(partial(self._client.post, path, **content))

    def get(self, path):
        return self._portal.call(self._client.get, path)


@contextmanager
def gateway(streams, plan=PATIENT, **options):
    made = Gateway(streams, schedule(**plan), **options)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(made.app.router.lifespan_context(made.app)),
    ):
        yield Client(portal, made)


@contextmanager
def answering(streams, answer=lambda request: float(request.features["x"])):
    """Answer each request from a thread, as a rendezvous would."""
    stop = threading.Event()

    def answer_all():
        reader = streams.reader(["requests"])
        while not stop.is_set():
            for message in reader.poll(timeout=0.01):
                request = decode(message.value, Request)
                result = a_result(request.id, score=answer(request), ts=request.ts, reply_to=request.reply_to)
                streams.append("results", [(request.id.encode(), encode(result))])

    thread = threading.Thread(target=answer_all)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def a_result(request_id, *, score=0.5, ts=0.0, **fields):
    return Result(
        request_id=request_id,
        request_ts=ts,
        ts=ts,
        model="champion",
        version="1",
        score=score,
        latency_seconds=0.01,
        **fields,
    )


def requests(streams):
    return [decode(m.value, Request) for m in streams.reader(["requests"]).poll(timeout=0.0)]


def results(streams):
    return [decode(m.value, Result) for m in streams.reader(["results"]).poll(timeout=0.0)]


def test_a_request_is_answered_with_what_the_rendezvous_says(streams):
    with answering(streams), gateway(streams) as client:
        response = client.post("/v1/score", json={"features": {"x": 7}, "id": "a", "ts": 5.0, "key": "k"})
    assert response.status_code == 200
    reply = response.json()
    assert 0 < reply.pop("latency_seconds") < 30
    assert reply == {
        "id": "a",
        "score": 7.0,
        "model": "champion",
        "version": "1",
        "tier": 0,
        "reason": "first choice",
        "within_sla": True,
        "output": None,
    }
    [request] = requests(streams)
    assert (request.id, request.ts, request.key, request.reply_to) == ("a", 5.0, "k", "gateway")
    assert request.deadline_seconds == 30.0


def test_what_is_left_out_is_filled_in(streams):
    with answering(streams), gateway(streams) as client:
        reply = client.post("/v1/score", json={"features": {"x": 1}}).json()
    [request] = requests(streams)
    assert request.id == request.key == reply["id"]
    assert request.id[14] == "7"  # UUIDv7
    assert request.ts == request.received_ts


def test_features_are_injected_once_so_that_all_models_see_the_same_bytes(streams):
    calls = []

    def weather(features, ts):
        calls.append(ts)
        return {**features, "wind": 3.5, "call": len(calls)}

    with answering(streams), gateway(streams, inject=weather) as client:
        client.post("/v1/score", json={"features": {"x": 1}, "ts": 9.0})
    assert calls == [9.0]
    assert [r.features for r in requests(streams)] == [{"x": 1, "wind": 3.5, "call": 1}]
    seen_by_two = [streams.reader(["requests"]).poll(timeout=0.0)[0].value for _ in range(2)]
    assert seen_by_two[0] == seen_by_two[1]


def test_many_at_a_time_each_get_their_own_answer(streams):
    with answering(streams), gateway(streams) as client:
        wrong = []

        def ask(start):
            for x in range(start, start + 25):
                reply = client.post("/v1/score", json={"features": {"x": x}, "id": f"id{x}"}).json()
                if (reply["id"], reply["score"]) != (f"id{x}", float(x)):
                    wrong.append(reply)

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(0, 200, 25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(requests(streams)) == 200


def test_with_the_rendezvous_dead_the_default_is_answered_and_logged(streams):
    with gateway(streams, SCHEDULE) as client:
        reply = client.post("/v1/score", json={"features": {}, "id": "a", "ts": 100.0}).json()
    assert (reply["score"], reply["model"], reply["version"]) == (0.1, "default", "v")
    assert (reply["tier"], reply["reason"], reply["within_sla"]) == (-1, "default", True)
    [result] = results(streams)
    assert (result.request_id, result.reason, result.tier) == ("a", "default", -1)
    assert 0.1 <= result.latency_seconds <= 0.2
    assert result.ts == pytest.approx(100.0 + result.latency_seconds)


def test_the_first_result_in_the_log_is_the_answer_even_when_the_default_was_on_its_way(streams):
    append = streams.append

    def rendezvous_is_a_moment_faster(stream, messages):
        messages = list(messages)
        if stream == "results":
            append("results", [(b"a", encode(a_result("a", score=0.9)))])
        append(stream, messages)

    streams.append = rendezvous_is_a_moment_faster
    with gateway(streams, SCHEDULE) as client:
        reply = client.post("/v1/score", json={"features": {}, "id": "a"}).json()
    assert (reply["model"], reply["score"]) == ("champion", 0.9)
    assert [r.model for r in results(streams)] == ["champion", "default"]


def test_asking_again_gives_the_same_answer_and_no_second_request(streams):
    with answering(streams), gateway(streams) as client:
        first = client.post("/v1/score", json={"features": {"x": 1}, "id": "a"}).json()
        again = client.post("/v1/score", json={"features": {"x": 2}, "id": "a"}).json()
    assert first["score"] == again["score"] == 1.0
    assert again["within_sla"]
    assert len(requests(streams)) == 1


def test_asking_again_while_the_first_is_open_joins_the_wait(streams):
    with gateway(streams) as client:
        replies = []

        def ask():
            replies.append(client.post("/v1/score", json={"features": {"x": 1}, "id": "a"}).json())

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: client.gateway._intake.in_flight == 3)
        streams.append("results", [(b"a", encode(a_result("a", score=0.9)))])
        for thread in threads:
            thread.join()
    assert [r["score"] for r in replies] == [0.9] * 3
    assert len(requests(streams)) == 1


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come about")


def test_of_several_that_wait_for_one_request_none_appends_a_second_default(streams):
    with gateway(streams, SCHEDULE) as client:
        replies = []

        def ask():
            replies.append(client.post("/v1/score", json={"features": {"x": 1}, "id": "a"}).json())

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [r["reason"] for r in replies] == ["default"] * 3
    assert len(results(streams)) == 1


def test_a_gateway_takes_no_request_before_it_has_read_what_was_answered(streams, monkeypatch):
    monkeypatch.setattr("birdwatch.serving.wire.Wire._read", lambda _: None)  # what comes afterwards is not read
    streams.append("results", [(b"", encode(a_result(f"r{i}"))) for i in range(3000)])
    with gateway(streams) as client:
        assert client.post("/v1/score", json={"features": {}, "id": "r2999"}).json()["model"] == "champion"


def test_a_new_gateway_finds_what_was_answered_before_it(streams):
    with answering(streams), gateway(streams) as client:
        client.post("/v1/score", json={"features": {"x": 1}, "id": "a"})
    with gateway(streams) as client:
        assert client.post("/v1/score", json={"features": {"x": 2}, "id": "a"}).json()["score"] == 1.0
    assert len(requests(streams)) == 1


def test_a_new_gateway_joins_what_was_open_when_the_old_one_was_killed(streams):
    request = a_request(id="a", received_ts=0.0, deadline_seconds=0.2)
    streams.append("requests", [(b"a", encode(request))])
    with gateway(streams, SCHEDULE) as client:
        reply = client.post("/v1/score", json={"features": {"x": 2}, "id": "a"}).json()
        assert client.post("/v1/score", json={"features": {"x": 2}, "id": "a"}).json()["reason"] == "default"
    assert (reply["reason"], reply["within_sla"]) == ("default", True)
    assert len(requests(streams)) == 1
    assert len(results(streams)) == 1


def test_when_too_many_wait_the_next_is_told_to_come_again(streams):
    with gateway(streams, max_in_flight=2) as client:
        threads = [
            threading.Thread(target=client.post, args=("/v1/score",), kwargs={"json": {"features": {}, "id": name}})
            for name in "ab"
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: client.gateway._intake.in_flight == 2)
        response = client.post("/v1/score", json={"features": {}})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        for name in "ab":
            streams.append("results", [(name.encode(), encode(a_result(name)))])
        for thread in threads:
            thread.join()
        wait_for(lambda: client.gateway._intake.in_flight == 0)
    assert len(requests(streams)) == 2


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


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b'{"features": {"wind": NaN}}', 400, "features.wind = nan"),
        (b'{"features": 3}', 422, "$.features"),
        (b'{"features": {}, "override": "bird"}', 422, "override: 'bird' is the canary"),
        (b'{"features": {"x": "' + b"y" * (1 << 20) + b'"}}', 413, "bytes"),
    ],
)
def test_a_poison_request_gets_an_answer_that_names_the_field_and_nothing_stops(streams, body, status, words):
    with answering(streams), gateway(streams, PATIENT | {"canary": ["bird"]}) as client:
        response = client.post("/v1/score", content=body)
        assert response.status_code == status
        assert words in response.json()["error"]
        assert client.post("/v1/score", json={"features": {"x": 1}}).status_code == 200
    assert len(requests(streams)) == 1


@pytest.mark.parametrize(
    ("inject", "words"),
    [
        (lambda features, ts: {"origin": features["origin"]}, "KeyError: 'origin'"),
        (lambda features, ts: {"what": object()}, "TypeError"),
    ],
)
def test_features_that_the_plug_in_cannot_use_are_refused(streams, inject, words):
    with gateway(streams, inject=inject) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert response.status_code == 422
    assert words in response.json()["error"]


def test_a_schedule_on_control_changes_the_deadline_and_the_default(streams):
    changed = Control(
        ts=0, action="schedule", author="ann", reason="?", version="w", params=SCHEDULE | {"default": 0.7}
    )
    changed.params.pop("version")
    streams.append("control", [(b"", encode(changed)), (b"", b"{")])
    with gateway(streams) as client:
        reply = client.post("/v1/score", json={"features": {}}).json()
    assert (reply["score"], reply["version"]) == (0.7, "w")


def test_a_refused_control_record_is_reported(streams, capsys):
    streams.append("control", [(b"", encode(Control(ts=0, action="champion", author="ann", reason="?")))])
    with gateway(streams):
        pass
    assert "champion '' by ann: no model is named" in capsys.readouterr().err


def test_it_says_how_it_is(streams):
    with answering(streams), gateway(streams) as client:
        client.post("/v1/score", json={"features": {"x": 1}})
        client.post("/v1/score", content=b"{")
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/readyz").status_code == 200
        metrics = client.get("/metrics").text
    assert 'birdwatch_gateway_responses_total{status="200"} 1.0' in metrics
    assert 'birdwatch_gateway_responses_total{status="400"} 1.0' in metrics
    assert 'birdwatch_gateway_answers_total{model="champion",reason="first choice"} 1.0' in metrics
    assert "birdwatch_gateway_latency_seconds_count 1.0" in metrics


def test_while_the_streams_cannot_be_read_it_is_not_ready_and_recovers(streams, monkeypatch):
    monkeypatch.setattr("birdwatch.serving.wire._RETRY_SECONDS", 0.01)
    with gateway(streams) as client:
        reader = client.gateway._intake._wire._reader
        poll = reader.poll

        def broken(*_):
            raise StreamError("results.db: gone")

        reader.poll = broken
        wait_for(lambda: client.get("/readyz").status_code == 503)
        reader.poll = poll
        wait_for(lambda: client.get("/readyz").status_code == 200)


def test_messages_that_cannot_be_read_are_counted(streams):
    streams.append("results", [(b"a", b"{")])
    streams.append("requests", [(b"a", b"{"), (b"\xff", b"{}")])
    with gateway(streams) as client:
        wait_for(lambda: "birdwatch_gateway_unreadable_total 3.0" in client.get("/metrics").text)


def test_answers_are_json_with_the_right_type(streams):
    with answering(streams), gateway(streams) as client:
        response = client.post("/v1/score", json={"features": {"x": 1}})
        assert response.headers["content-type"] == "application/json"
        assert json.loads(response.content)["score"] == 1.0
        assert client.get("/v1/score").status_code == 405
