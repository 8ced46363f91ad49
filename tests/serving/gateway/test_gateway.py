import json
import threading

import pytest

from birdwatch.errors import StreamError
from birdwatch.records import Control, Request, Snapshot, as_token, decode, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.gateway.gateway import Gateway
from birdwatch.streams import Changes, Partition
from birdwatch.testing import MemoryStreams, a_request

from .gateways import PATIENT, SCHEDULE, a_result, answering, gateway, requests, results, wait_for


@pytest.fixture
def streams():
    return MemoryStreams()


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
        if stream == "results" and messages:
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
    # What comes afterwards is not read.
    monkeypatch.setattr("birdwatch.serving.gateway.wire.Wire._read", lambda *_: None)
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


def test_control_is_known_at_the_start_however_long_it_takes_to_fetch(remote):
    change = Control(ts=0, action="champion", author="ann", reason="better", model="challenger")
    remote.append("control", [(b"", encode(change))])
    with gateway(remote) as client:
        assert client.get("/v2/models/challenger").status_code == 200


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


RULES = {
    "overrides": [
        {"name": "far", "when": {"distance": {"at_least": 2000}}, "model": "night"},
        {"name": "windy", "when": {"wind": [7, 8]}, "model": "careful"},
    ]
}


def test_the_first_rule_that_matches_what_the_models_see_forces_its_model(streams):
    def wind(features, ts):
        return {**features, "wind": 7}

    with answering(streams, lambda _: 0.5), gateway(streams, PATIENT | RULES, inject=wind) as client:
        for features in ({"distance": 2475}, {"distance": 200}):
            client.post("/v1/score", json={"features": features})
        client.post("/v1/score", json={"features": {"distance": 2475}, "override": "mine"})
    assert [(r.override, r.override_by) for r in requests(streams)] == [
        ("night", "far"),
        ("careful", "windy"),
        ("mine", "request"),
    ]


def test_a_rule_never_forces_the_canary_even_when_it_becomes_one_later(streams):
    canary = Control(ts=0, action="register", author="a", reason="", model="night", params={"role": "canary"})
    streams.append("control", [(b"", encode(canary))])
    with answering(streams, lambda _: 0.5), gateway(streams, PATIENT | RULES) as client:
        client.post("/v1/score", json={"features": {"distance": 2475}})
    assert [(r.override, r.override_by) for r in requests(streams)] == [(None, "")]


def test_a_rule_put_on_control_is_in_force_at_the_next_request(streams):
    rule = Control(ts=0, action="override", author="a", reason="", model="night", params={"name": "all", "when": {}})
    with answering(streams, lambda _: 0.5), gateway(streams) as client:
        client.post("/v1/score", json={"features": {}})
        streams.append("control", [(b"", encode(rule))])
        wait_for(lambda: client.gateway._intake.fleet.schedule.overrides)
        client.post("/v1/score", json={"features": {}})
    assert [(r.override, r.override_by) for r in requests(streams)] == [(None, ""), ("night", "all")]


def test_the_default_tells_who_forced_a_model_that_did_not_answer(streams):
    with gateway(streams, SCHEDULE | RULES) as client:
        client.post("/v1/score", json={"features": {"distance": 2475}})
    assert [(r.reason, r.override_by) for r in results(streams)] == [("default", "far")]


def test_the_reply_tells_whether_the_request_is_accepted_where_the_schedule_says_so(streams):
    rule = {"threshold": 0.5, "accepts": "below", "rate": 0.0}
    with gateway(streams, SCHEDULE | {"acceptance": rule}) as client:
        assert client.post("/v1/score", json={"features": {}}).json()["accepted"] is True
    with gateway(MemoryStreams(), SCHEDULE | {"default": 0.9, "acceptance": rule}) as client:
        assert client.post("/v1/score", json={"features": {}}).json()["accepted"] is False


def test_a_plug_in_that_gives_no_dictionary_is_named(streams):
    with gateway(streams, inject=lambda features, ts: [features]) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert (response.status_code, response.json()["error"]) == (
        422,
        "features: the plug-in gave list for them, not a dictionary",
    )


class Counting:
    """Injects how many requests there were."""

    def __init__(self, tag="old"):
        self.n = 0
        self.tag = tag

    def __call__(self, features, ts):
        self.n += 1
        return {**features, "n": self.n, "by": self.tag}

    def snapshot(self):
        return self.n

    def restore(self, state):
        self.n = state

    def observe(self, features, ts):
        self.n += 1


def test_what_a_plug_in_remembers_outlives_the_gateway(streams):
    for _ in range(2):
        with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="x:y") as client:
            for _ in range(3):
                client.post("/v1/score", json={"features": {}})
    assert [r.features["n"] for r in requests(streams)] == [1, 2, 3, 4, 5, 6]
    kept = [decode(m.value, Snapshot) for m in streams.reader(["snapshots"]).poll(timeout=0.0)]
    # At the first start, at its end, at the second start, at its end: in between fewer than ten seconds pass.
    assert [(each.by, each.state["state"]) for each in kept] == [("gateway", n) for n in (0, 3, 3, 6)]


def test_what_it_remembers_is_kept_every_so_often_when_requests_came(streams):
    with (
        answering(streams, lambda _: 0.5),
        gateway(streams, inject=Counting(), target="x:y", snapshot_seconds=0.02) as client,
    ):

        def kept():
            messages = streams.reader(["snapshots"]).poll(timeout=0.0)
            return [decode(message.value, Snapshot).state["state"] for message in messages]

        client.post("/v1/score", json={"features": {}})
        wait_for(lambda: kept() == [0, 1])
        threading.Event().wait(0.2)  # ten times as long: nothing came, and nothing is kept
        assert kept() == [0, 1]
        client.post("/v1/score", json={"features": {}})
        wait_for(lambda: kept() == [0, 1, 2])
    assert kept() == [0, 1, 2]


def test_a_swap_on_control_changes_the_plug_in_between_two_requests_under_load(streams, monkeypatch):
    monkeypatch.setattr("birdwatch.serving.features.plugin.find_callable", lambda name: {"p:new": Counting}[name])
    swap = Control(
        ts=0,
        action="swap",
        author="ann",
        reason="?",
        params={"component": "features", "token": "t1", "target": "p:new", "config": ["new"]},
    )

    def controls(action):
        messages = streams.reader(["control"]).poll(timeout=0.0)
        return [each for each in (decode(m.value, Control) for m in messages) if each.action == action]

    with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="p:old") as client:
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                assert client.post("/v1/score", json={"features": {}}).status_code == 200

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(requests(streams)) > 20)
        streams.append("control", [(b"", encode(swap))])
        wait_for(lambda: controls("swapped"))
        n = len(requests(streams))
        wait_for(lambda: len(requests(streams)) > n + 20)
        stop.set()
        for thread in threads:
            thread.join()
    messages = streams.reader(["requests"]).poll(limit=10**6, timeout=0.0)
    [at] = [message.offset for message in messages if as_token(message.value)]
    seen = [decode(m.value, Request).features for m in messages if m.offset != at]
    assert [features["n"] for features in seen] == list(range(1, len(seen) + 1))
    assert [features["by"] for features in seen] == ["old"] * at + [["new"]] * (len(seen) - at)
    [done] = controls("swapped")
    assert done.params == {"component": "features", "token": "t1", "by": "gateway", "at": {"0": at}}


def test_a_swap_that_cannot_be_is_said_and_the_old_plug_in_goes_on(streams, capsys):
    with answering(streams, lambda _: 0.5), gateway(streams, inject=Counting(), target="p:old") as client:
        for params in ({"token": "t1", "target": "json:nothing"}, {"target": "json:loads"}):
            params["component"] = "features"
            swap = Control(ts=0, action="swap", author="ann", reason="?", params=params)
            streams.append("control", [(b"", encode(swap))])
        said = ""

        def both():
            nonlocal said
            said += capsys.readouterr().err
            return "swap 't1' is refused: 'json:nothing'" in said and "need a token and a target" in said

        wait_for(both)
        client.post("/v1/score", json={"features": {}})
    assert [r.features["by"] for r in requests(streams)] == ["old"]


def test_asked_to_stop_it_takes_nothing_new_and_answers_what_is_in_flight(streams):
    asked_to_stop = threading.Event()
    with gateway(streams) as client:
        done = client.gateway.drained(asked_to_stop.is_set)
        replies = []
        waiting = threading.Thread(
            target=lambda: replies.append(client.post("/v1/score", json={"features": {}, "id": "a"}))
        )
        waiting.start()
        wait_for(lambda: client.gateway._intake.in_flight == 1)
        assert not done()
        assert client.get("/readyz").status_code == 200
        asked_to_stop.set()
        assert not done()
        for path in ("/readyz", "/v2/health/ready", "/v2/models/birdwatch/ready"):
            assert client.get(path).status_code == 503
        assert client.get("/healthz").status_code == 200
        refused = client.post("/v1/score", json={"features": {}})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "about to end" in refused.json()["error"]
        streams.append("results", [(b"a", encode(a_result("a", score=0.9)))])
        waiting.join()
        assert replies[0].json()["score"] == 0.9
        assert done()
        # What is in the log is still told.
        assert client.post("/v1/score", json={"features": {}, "id": "a"}).json()["score"] == 0.9


def test_it_waits_no_longer_than_the_deadline_and_the_margin_for_what_is_in_flight(streams):
    now = [1000.0]
    made = Gateway(streams, parse_schedule(PATIENT | {"tiers": [{"models": ["m"]}]}, place="t"), clock=lambda: now[0])
    made._intake.in_flight = 1
    done = made.drained(lambda: True)
    assert not done()
    now[0] += 30.0
    assert not done()
    now[0] += 0.1
    assert done()


def test_what_grows_too_large_by_what_is_injected_is_refused(streams):
    with gateway(streams, inject=lambda features, ts: {**features, "map": "x" * 900_000}) as client:
        response = client.post("/v1/score", json={"features": {}})
    assert response.status_code == 413
    assert "900000 are allowed" in response.json()["error"]
    assert requests(streams) == []
