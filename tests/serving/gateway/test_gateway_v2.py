"""The Open Inference Protocol on the gateway's application; an independent client asks it in tests/integration."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdwatch.records import Control, encode
from birdwatch.testing import MemoryStreams

from .gateways import PATIENT, a_result, answering, gateway, requests, wait_for


def infer(*values, **fields):
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": "FP64", "data": list(values)}], **fields}


def outputs(response):
    assert response.status_code == 200, response.text
    return {each["name"]: each["data"] for each in response.json()["outputs"]}


def test_the_whole_rendezvous_answers_as_birdwatch(streams):
    with answering(streams), gateway(streams) as client:
        response = client.post("/v2/models/birdwatch/infer", json=infer(7, id="a", parameters={"ts": 5.0, "key": "k"}))
    assert outputs(response) == {
        "score": [7.0],
        "model": ["champion"],
        "version": ["1"],
        "reason": ["first choice"],
        "tier": [0],
    }
    said = response.json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("birdwatch", "v", "a")
    [request] = requests(streams)
    assert (request.id, request.ts, request.key, request.features) == ("a", 5.0, "k", {"x": 7.0})
    assert (request.override, request.override_by) == (None, "")


def test_rows_are_put_on_the_stream_together_and_answered_together(streams):
    with answering(streams), gateway(streams) as client:
        response = client.post("/v2/models/birdwatch/infer", json=infer(3, 4, 5, id="a"))
        assert outputs(response)["score"] == [3.0, 4.0, 5.0]
        again = client.post("/v1/score", json={"features": {}, "id": "a/1"}).json()
    assert again["score"] == 4.0
    assert [(r.id, r.key, r.features) for r in requests(streams)] == [
        (f"a/{i}", f"a/{i}", {"x": x}) for i, x in enumerate((3.0, 4.0, 5.0))
    ]


def test_without_an_id_one_is_drawn_and_told(streams):
    with answering(streams), gateway(streams) as client:
        one = client.post("/v2/models/birdwatch/infer", json=infer(1)).json()["id"]
        two = client.post("/v2/models/birdwatch/infer", json=infer(1, 2)).json()["id"]
    assert [r.id for r in requests(streams)] == [one, f"{two}/0", f"{two}/1"]


def test_asking_again_gives_the_same_rows_and_only_new_ones_are_put_on_the_stream(streams):
    with answering(streams), gateway(streams) as client:
        client.post("/v2/models/birdwatch/infer", json=infer(1, 2, id="a"))
        again = client.post("/v2/models/birdwatch/infer", json=infer(8, 9, 10, id="a"))
    assert outputs(again)["score"] == [1.0, 2.0, 10.0]
    assert [r.id for r in requests(streams)] == ["a/0", "a/1", "a/2"]


def test_another_live_model_is_forced_and_the_client_is_who_says_so(streams):
    streams.append("control", [(b"", encode(Control(ts=0, action="register", author="a", reason="", model="m2")))])
    with answering(streams), gateway(streams) as client:
        assert client.post("/v2/models/m2/infer", json=infer(1)).status_code == 200
        assert client.post("/v2/models/champion/infer", json=infer(1)).status_code == 200
    assert [(r.override, r.override_by) for r in requests(streams)] == [("m2", "request"), ("champion", "request")]


@pytest.mark.parametrize("path", ["", "/ready", "/infer", "/versions/1", "/versions/1/ready", "/versions/1/infer"])
@pytest.mark.parametrize(
    ("model", "words"),
    [("bird", "'bird' is the canary"), ("nobody", "there is no model 'nobody': there are birdwatch, champion")],
)
def test_the_canary_and_models_that_nobody_knows_are_not_found(streams, model, words, path):
    with gateway(streams, PATIENT | {"canary": ["bird"]}) as client:
        url = f"/v2/models/{model}{path}"
        response = client.post(url, json=infer(1)) if path.endswith("infer") else client.get(url)
    assert response.status_code == 404
    assert words in response.json()["error"]
    assert requests(streams) == []


def test_a_version_is_found_where_it_is_the_one_that_answers(streams):
    register = Control(ts=0, action="register", author="a", reason="", model="m2", version="5")
    streams.append("control", [(b"", encode(register))])
    with answering(streams), gateway(streams) as client:
        assert client.get("/v2/models/birdwatch/versions/v").json()["versions"] == ["v"]
        assert client.get("/v2/models/m2/versions/5/ready").json() == {"name": "m2", "ready": True}
        response = client.post("/v2/models/birdwatch/versions/v/infer", json=infer(1))
        assert outputs(response)["score"] == [1.0]
        for url, words in (
            ("/v2/models/birdwatch/versions/w", "version 'v' of 'birdwatch' answers, not 'w'"),
            ("/v2/models/m2/versions/4", "version '5' of 'm2' answers, not '4'"),
        ):
            refused = client.get(url)
            assert refused.status_code == 404
            assert words in refused.json()["error"]
        # champion has answered by now, and its version with it
        assert client.get("/v2/models/champion").json()["versions"] == ["1"]


def test_it_says_what_it_is_and_how(streams):
    with gateway(streams) as client:
        assert client.get("/v2").json()["name"] == "birdwatch"
        assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        said = client.get("/v2/models/champion").json()
        assert client.get("/v2/models/champion/versions/1").status_code == 404
    assert (said["name"], said["platform"], said["inputs"], said["versions"]) == ("champion", "birdwatch", [], [])
    assert {"name": "score", "datatype": "FP64", "shape": [-1]} in said["outputs"]


def test_back_pressure_counts_rows(streams):
    with gateway(streams, max_in_flight=4) as client:
        asked = []
        waiting = threading.Thread(
            target=lambda: asked.append(client.post("/v2/models/birdwatch/infer", json=infer(1, 2, 3, id="a")))
        )
        waiting.start()
        wait_for(lambda: client.gateway._intake.in_flight == 3)
        refused = client.post("/v2/models/birdwatch/infer", json=infer(1, 2))
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert client.post("/v2/models/birdwatch/infer", json=infer(1, 2, 3, 4, 5)).status_code == 413
        for i in range(3):
            streams.append("results", [(b"", encode(a_result(f"a/{i}")))])
        waiting.join()
        assert outputs(asked[0])["score"] == [0.5] * 3
        wait_for(lambda: client.gateway._intake.in_flight == 0)
    assert len(requests(streams)) == 3


def test_of_rows_of_which_one_is_refused_none_is_taken(streams):
    def not_two(features, ts):
        return {"inverse": 1 / (features["x"] - 2)}

    with gateway(streams, inject=not_two) as client:
        refused = client.post("/v2/models/birdwatch/infer", json=infer(1, 2, 3))
    assert refused.status_code == 422
    assert "ZeroDivisionError" in refused.json()["error"]
    assert requests(streams) == []


def test_a_coding_that_is_not_read_is_refused(streams):
    with gateway(streams) as client:
        refused = client.post("/v2/models/birdwatch/infer", content=b"", headers={"Content-Encoding": "gzip"})
    assert refused.status_code == 415
    assert "'gzip' is not read here" in refused.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/v2/models/birdwatch/infer", 405), ("get", "/v3", 404), ("post", "/v2", 405)],
)
def test_what_is_not_offered_is_said_in_json(streams, method, path, status):
    with gateway(streams) as client:
        response = getattr(client, method)(path)
    assert response.status_code == status
    assert response.json() == {"error": f"{method.upper()} {path} is not offered here"}


def test_rows_are_counted_by_protocol(streams):
    with answering(streams), gateway(streams, max_in_flight=9) as client:
        client.post("/v1/score", json={"features": {"x": 1}})
        client.post("/v2/models/birdwatch/infer", json=infer(1, 2))
        metrics = client.get("/metrics").text
    assert 'birdwatch_gateway_requests_total{protocol="v1"} 1.0' in metrics
    assert 'birdwatch_gateway_requests_total{protocol="v2"} 2.0' in metrics
    assert "birdwatch_gateway_in_flight_limit 9.0" in metrics
    assert "birdwatch_gateway_features_seconds_count 3.0" in metrics


@pytest.fixture(scope="module")
def asked():
    """A gateway that is asked whatever comes to mind, and whose models answer at once."""
    place = MemoryStreams()
    with answering(place, lambda request: 0.0), gateway(place) as client:
        yield client


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["x", "y", "score", "output", "accepted", ""])
datatypes = st.sampled_from(["FP64", "FP32", "INT8", "BOOL", "BYTES", "UINT64", "FP8"])
shapes = st.lists(st.integers(-1, 3) | st.integers(), max_size=4)
parameters = st.dictionaries(st.sampled_from(["binary_data_size", "ts", "key", "binary_data", "z"]), junk, max_size=2)


def object_of(**fields):
    """Mostly what the protocol wants, and now and then something else in its place."""
    return st.fixed_dictionaries({}, optional={name: inner | junk for name, inner in fields.items()}) | junk


tensors = object_of(
    name=names, shape=shapes, datatype=datatypes, parameters=parameters, data=st.lists(junk, max_size=3)
)
plausible = st.builds(
    lambda n, datatype, data: {"name": "x", "shape": [n], "datatype": datatype, "data": data},
    st.integers(1, 3),
    datatypes,
    st.lists(junk, min_size=1, max_size=3),
)
inferences = object_of(
    inputs=st.lists(plausible | tensors, max_size=3),
    outputs=st.lists(object_of(name=names, parameters=parameters), max_size=2),
    parameters=parameters,
    id=st.text(max_size=200),
)
asks = object_of(
    features=st.dictionaries(st.text(max_size=5), junk, max_size=3),
    id=st.text(max_size=200),
    ts=st.floats(),
    key=st.text(max_size=5),
    override=st.sampled_from(["champion", "nobody", ""]),
)

never_500 = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(response):
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    if response.status_code != 200:
        assert set(response.json()) == {"error"}
        assert response.json()["error"]


@never_500
@given(asks)
def test_whatever_v1_is_asked_the_answer_is_200_or_a_4xx_that_says_why(asked, content):
    check(asked.post("/v1/score", content=json.dumps(content).encode(errors="surrogatepass")))


@never_500
@given(inferences, st.binary(max_size=20), st.none() | st.integers(-5, 5))
def test_whatever_v2_is_asked_the_answer_is_200_or_a_4xx_that_says_why(asked, content, tail, beside):
    head = json.dumps(content).encode(errors="surrogatepass")
    headers = {} if beside is None else {"Inference-Header-Content-Length": str(len(head) + beside)}
    check(asked.post("/v2/models/birdwatch/infer", content=head + tail, headers=headers))


@never_500
@given(st.binary(max_size=200), st.sampled_from(["/v1/score", "/v2/models/birdwatch/infer"]))
def test_bytes_that_are_no_json_get_a_4xx(asked, content, path):
    check(asked.post(path, content=content))


@never_500
@given(datatypes, st.integers(1, 4), st.binary(max_size=40))
def test_any_bytes_for_a_tensor_get_an_answer_or_a_4xx(asked, datatype, n, raw):
    described = {"name": "x", "shape": [n], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [described]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    check(asked.post("/v2/models/birdwatch/infer", content=head + raw, headers=headers))
