import json
import threading

import pytest

from birdwatch.records import Control, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.gateway.gateway import Gateway
from birdwatch.testing import MemoryStreams, a_request

from .gateways import PATIENT, ROOMY, SCHEDULE, a_result, answering, gateway, requests, results, wait_for


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
    with gateway(streams, ROOMY) as client:
        reply = client.post("/v1/score", json={"features": {}, "id": "a", "ts": 100.0}).json()
    assert (reply["score"], reply["model"], reply["version"]) == (0.1, "default", "v")
    assert (reply["tier"], reply["reason"], reply["within_sla"]) == (-1, "default", True)
    [result] = results(streams)
    assert (result.request_id, result.reason, result.tier) == ("a", "default", -1)
    assert 0.5 <= result.latency_seconds <= 1.0
    assert result.ts == pytest.approx(100.0 + result.latency_seconds)


def test_the_first_result_in_the_log_is_the_answer_even_when_the_default_was_on_its_way(streams):
    append = streams.append

    def rendezvous_is_a_moment_faster(stream, messages):
        messages = list(messages)
        if stream == "results" and messages:
            append("results", [(b"a", encode(a_result("a", score=0.9)))])
        append(stream, messages)

    streams.append = rendezvous_is_a_moment_faster
    with gateway(streams, ROOMY) as client:
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
