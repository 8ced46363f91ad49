import json
import socket
import threading

import pytest
from werkzeug import Response

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Spec, load_model, score_batch

PATH = "/v2/models/late/infer"


@pytest.fixture
def endpoint(httpserver):
    """Answers x + y, as a server of the protocol would; keeps what it was asked."""

    class Endpoint:
        url = httpserver.url_for("/v2/models/late")

        def __init__(self):
            self.asked = []
            self.outputs = []

        def answer(self, request):
            asked = request.get_json()
            self.asked.append(asked)
            columns = {one["name"]: one["data"] for one in asked["inputs"]}
            if 13 in columns["x"]:
                return Response("13 is unlucky", 500)
            sums = [x + y for x, y in zip(columns["x"], columns["y"], strict=True)]
            score = {"name": "score", "shape": [len(sums), 1], "datatype": "FP64", "data": sums}
            return Response(json.dumps({"model_name": "late", "outputs": [*self.outputs, score]}))

        def load(self, **options):
            return load_model(Spec("1", "oip", self.url, options))

    made = Endpoint()
    httpserver.expect_request(PATH, method="POST").respond_with_handler(made.answer)
    return made


def said(answers):
    return [(a.score, a.error) for a in answers]


def test_a_batch_travels_as_one_request_with_a_tensor_a_feature(endpoint):
    rows = [
        {"y": 2, "x": 0.5, "carrier": "UA", "cargo": True, "mixed": 1},
        {"x": 1, "y": 3, "carrier": "AA", "cargo": False, "mixed": 0.5},
    ]
    assert said(score_batch(endpoint.load(), rows)) == [(2.5, None), (4.0, None)]
    [asked] = endpoint.asked
    assert asked["inputs"] == [
        {"name": "cargo", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]},
        {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["UA", "AA"]},
        {"name": "mixed", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 0.5]},
        {"name": "x", "shape": [2, 1], "datatype": "FP64", "data": [0.5, 1.0]},
        {"name": "y", "shape": [2, 1], "datatype": "INT64", "data": [2, 3]},
    ]


def test_only_the_features_that_are_named_are_sent_in_their_order_and_type(endpoint):
    model = endpoint.load(features=["y", "x"], datatypes={"x": "FP32"})
    assert said(score_batch(model, [{"x": 1, "y": 2, "weather": {"wind": 3}}, {"y": 2}])) == [
        (3.0, None),
        (None, "the request has no feature 'x'"),
    ]
    [asked] = endpoint.asked
    assert [(one["name"], one["datatype"], one["data"]) for one in asked["inputs"]] == [
        ("y", "INT64", [2]),
        ("x", "FP32", [1.0]),
    ]


def test_rows_of_other_features_travel_apart_and_come_back_in_order(endpoint):
    rows = [{"x": 1, "y": 1}, {"x": 2, "y": 2, "z": 0}, {"x": 3, "y": 3}, {}]
    assert said(score_batch(endpoint.load(), rows)) == [
        (2.0, None),
        (4.0, None),
        (6.0, None),
        (None, "the request has no features"),
    ]
    assert len(endpoint.asked) == 2


def test_the_output_is_named_where_there_are_several_and_its_column_where_it_has_several(endpoint):
    endpoint.outputs = [{"name": "p", "shape": [1, 2], "datatype": "FP64", "data": [0.25, 0.75]}]
    rows = [{"x": 1, "y": 2}]
    assert said(score_batch(endpoint.load(output="score"), rows)) == [(3.0, None)]
    assert said(score_batch(endpoint.load(output="p"), rows)) == [(0.75, None)]
    assert said(score_batch(endpoint.load(output="p", positive=0), rows)) == [(0.25, None)]
    for options in ({}, {"output": "q"}):
        [answer] = score_batch(endpoint.load(**options), rows)
        assert "gave the outputs p, score: name one of them" in answer.error


def test_a_poison_row_costs_only_its_own_score(endpoint):
    rows = [{"x": x, "y": 0} for x in (1, 13, 2)]
    answers = score_batch(endpoint.load(), rows)
    assert [a.score for a in answers] == [1.0, None, 2.0]
    assert answers[1].error == f"{endpoint.url}/infer answered 500 INTERNAL SERVER ERROR: 13 is unlucky"


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ({"a": 1}, "dict"), ([1], "list")])
def test_what_no_tensor_carries_is_named_and_costs_only_its_own_score(endpoint, value, kind):
    bad, good = score_batch(endpoint.load(), [{"x": 1, "y": value}, {"x": 1, "y": 2}])
    assert f"feature 'y' is {kind}, which no tensor can carry" in bad.error
    assert good.score == 3.0


def test_an_error_that_says_nothing_of_the_rows_is_not_asked_for_again(endpoint, httpserver):
    httpserver.clear()
    httpserver.expect_ordered_request(PATH).respond_with_data("come back later", 503)
    answers = score_batch(endpoint.load(), [{"x": 1}, {"x": 2}])
    assert {a.error for a in answers} == {f"{endpoint.url}/infer answered 503 SERVICE UNAVAILABLE: come back later"}
    httpserver.check()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "gave what cannot be read"),
        (b'{"outputs": [{"name": "p", "shape": [1, 1]}]}', "gave what cannot be read"),
        (b'{"outputs": [{"name": "p", "shape": [3], "data": [1]}]}', "an output that is not of its shape"),
        (b'{"outputs": [{"name": "p", "shape": [2], "data": [1, 2]}]}', "gave 2 scores for 1 requests"),
        (b'{"outputs": []}', "gave the outputs none"),
    ],
)
def test_an_answer_that_is_none_is_an_error(endpoint, httpserver, body, words):
    httpserver.clear()
    httpserver.expect_request(PATH).respond_with_data(body)
    [answer] = score_batch(endpoint.load(), [{"x": 1}])
    assert words in answer.error


def test_with_nobody_there_all_get_an_error_at_once_that_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        model = load_model(Spec("1", "oip", f"http://127.0.0.1:{taken.getsockname()[1]}/v2/models/late"))
        answers = score_batch(model, [{"x": 1}, {"x": 2}])
    assert ["cannot be reached" in a.error and "Connection refused" in a.error for a in answers] == [True, True]


def test_an_endpoint_that_says_nothing_is_an_error_that_says_so():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v2/models/late"
        model = load_model(Spec("1", "oip", url, {"timeout_seconds": 0.01}))
        [answer] = score_batch(model, [{"x": 1}])
    assert answer.error == f"{url}/infer did not answer within 0.01 s"


class Closes(threading.Thread):
    """A server that answers once a connection, keeps it, and closes it unanswered when it is asked again."""

    BODY = b'{"outputs":[{"name":"s","shape":[1],"data":[7]}]}'

    def __init__(self, deaf=False):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/v2/models/m"
        self.deaf = deaf
        self.connections = 0
        self.start()

    def listen(self, connection):
        heard = b""
        while not heard.endswith(b"]}") and (more := connection.recv(65536)):
            heard += more

    def run(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self.listen(connection)
                if not self.deaf:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.BODY), self.BODY))
                    self.listen(connection)  # to the next question


def test_a_connection_that_was_closed_while_it_was_idle_is_opened_again_once():
    server = Closes()
    model = load_model(Spec("1", "oip", server.url))
    with server.server:
        assert [score_batch(model, [{"x": 1}])[0].score for _ in range(3)] == [7.0] * 3
    assert server.connections == 3


def test_a_server_that_hangs_up_is_not_asked_on_and_on():
    server = Closes(deaf=True)
    with server.server:
        [answer] = score_batch(load_model(Spec("1", "oip", server.url)), [{"x": 1}])
    assert "cannot be reached" in answer.error
    assert server.connections <= 2


@pytest.mark.parametrize("artifact", ["localhost:8080", "ftp://here/v2/models/m", "http://here:8080", "/v2/models/m"])
def test_what_is_no_address_of_a_model_is_said_so(artifact):
    with pytest.raises(ServingError, match="write http://HOST:PORT/v2/models/NAME"):
        load_model(Spec("1", "oip", artifact))
