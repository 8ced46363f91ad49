import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.serving.gateway.ask import RefusedError, Reply
from birdwatch.serving.gateway.oip import Inference, parse_inference, respond


def tensor(name, shape, datatype, data, **fields):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **fields}


def body(*inputs, **fields):
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def parse(content, header_length=None, **options):
    return parse_inference(content, header_length, **{"most_rows": 256, **options})


def rows(*inputs):
    return parse(body(*inputs)).rows


def binary(*inputs, **fields):
    """Build a body with binary tensors, as the specification of the extension lays it out."""
    described = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
        for name, shape, datatype, raw in inputs
    ]
    head = json.dumps({"inputs": described, **fields}).encode()
    return head + b"".join(raw for *_, raw in inputs), str(len(head))


def test_each_tensor_is_a_feature_and_its_first_dimension_counts_the_rows():
    found = rows(tensor("x", [2], "FP64", [0.5, 1.5]), tensor("who", [2, 1], "BYTES", ["a", "b"]))
    assert found == [{"x": 0.5, "who": "a"}, {"x": 1.5, "who": "b"}]


def test_more_dimensions_give_each_row_nested_lists_flat_or_nested_in_the_json():
    flat = rows(tensor("x", [2, 2, 3], "INT32", list(range(12))))
    nested = rows(tensor("x", [2, 2, 3], "INT32", np.arange(12).reshape(2, 2, 3).tolist()))
    assert flat == nested == [{"x": [[0, 1, 2], [3, 4, 5]]}, {"x": [[6, 7, 8], [9, 10, 11]]}]
    assert rows(tensor("x", [2, 1, 1], "INT32", [1, 2])) == [{"x": [[1]]}, {"x": [[2]]}]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        *[(f"INT{bits}", [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]) for bits in (8, 16, 32, 64)],
        *[(f"UINT{bits}", [0, 2**bits - 1]) for bits in (8, 16, 32, 64)],
        ("FP16", [0.5, -65504.0]),
        ("FP32", [0.1, 3.0]),
        ("FP64", [0.1, 1e300]),
    ],
)
def test_a_tensor_means_the_same_in_json_and_as_bytes(datatype, values):
    # The names of the protocol are those of numpy: FP32 is float32.
    dtype = np.dtype(datatype.lower().replace("fp", "float"))
    raw = np.array(values, dtype).tobytes()
    in_json = rows(tensor("x", [2], datatype, values))
    in_bytes = parse(*binary(("x", [2], datatype, raw))).rows
    assert in_json == in_bytes == [{"x": value} for value in np.array(values, dtype).tolist()]
    assert [type(row["x"]) for row in in_json] == [type(row["x"]) for row in in_bytes]


def test_texts_as_bytes_have_their_length_before_them():
    raw = b"".join(struct.pack("<I", len(text)) + text for text in (b"", "Zürich".encode()))
    assert parse(*binary(("x", [2], "BYTES", raw))).rows == [{"x": ""}, {"x": "Zürich"}]


def test_binary_and_json_tensors_may_stand_side_by_side():
    content, length = binary(("x", [2], "INT32", struct.pack("<ii", 3, -4)))
    head = json.loads(content[: int(length)])
    head["inputs"].insert(0, tensor("y", [2], "BYTES", ["a", "b"]))
    new = json.dumps(head).encode()
    found = parse(new + content[int(length) :], str(len(new))).rows
    assert found == [{"y": "a", "x": 3}, {"y": "b", "x": -4}]


def test_the_rows_are_asked_under_the_id_with_their_number():
    asked = parse(
        body(tensor("x", [2], "INT8", [1, 2]), id="a", parameters={"ts": 5, "key": "k", "priority": 1, "other": {}})
    )
    asks = asked.asks("a", "m")
    assert [(ask.id, ask.ts, ask.key, ask.override, ask.features) for ask in asks] == [
        ("a/0", 5.0, "k", "m", {"x": 1}),
        ("a/1", 5.0, "k", "m", {"x": 2}),
    ]
    [alone] = parse(body(tensor("x", [1], "INT8", [1]))).asks("a", None)
    assert (alone.id, alone.ts, alone.key, alone.override) == ("a", None, None, None)


ONE = tensor("x", [1], "FP64", [1])


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 422, "object"),
        (b'{"x": ' + b"[" * 100_000, 400, "not JSON"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": ' + b"[" * 100_000, 400, "not JSON"),
        (b'{"inputs": [{"name": "\xff"}]}', 400, "not JSON"),
        (b" " * 900_001, 413, "more than 900000 bytes"),
        (b"{}", 422, "inputs"),
        (b"3", 422, "object"),
        (body(), 422, "inputs: there is none"),
        (body(ONE, id="x" * 129), 422, "id: has 129 characters"),
        (body(ONE, parameters={"ts": 1e300}), 422, "ts: 1e+300"),
        (body(ONE, parameters={"key": 3}), 422, "parameters.key"),
        (body(ONE, ONE), 422, "'x': is there a second time"),
        (body({**ONE, "shape": []}), 422, "shape []"),
        (body({**ONE, "shape": [0], "data": []}), 422, "shape [0]"),
        (body({**ONE, "shape": [-1]}), 422, "shape [-1]"),
        (body({**ONE, "shape": [1] * 17}), 422, "1 to 16 dimensions"),
        (body({**ONE, "shape": [1.5]}), 422, "inputs[0].shape[0]"),
        (body({**ONE, "shape": [2**70]}), 413, "rows are more than"),
        (body({**ONE, "shape": [257], "data": [1] * 257}), 413, "257 rows are more than the 256"),
        (body({**ONE, "shape": [1, 10**9]}), 422, "has 1 values, and shape [1, 1000000000] 1000000000"),
        (body(ONE, tensor("y", [2], "FP64", [1, 2])), 422, "'y': has 2 rows, and the tensor before it 1"),
        (body({**ONE, "datatype": "BF16"}), 422, "datatype 'BF16' is none of BOOL"),
        (body({**ONE, "data": [1, 2]}), 422, "has 2 values, and shape [1] 1"),
        (body({**ONE, "data": None}), 422, "needs data"),
        (body({**ONE, "data": 3}), 422, "needs data"),
        (body({**ONE, "data": ["1"]}), 422, "data[0] is '1', not a number"),
        (body({**ONE, "data": [None]}), 422, "data[0] is 'None', not a number"),
        (body({**ONE, "data": [True]}), 422, "data[0] is 'True', not a number"),
        (body({**ONE, "data": [{}]}), 422, "data[0] is '{}', not a number"),
        (body({**ONE, "shape": [2], "data": [[1], 2]}), 422, "data mixes lists and values"),
        (body({**ONE, "data": json.loads("[" * 40 + "]" * 40)}), 422, "data is nested too deeply"),
        (body({**ONE, "data": [float("nan")]}), 400, "inputs[0].data[0] = nan"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1e999]}]}', 422, "data[0] = inf"),
        (body({**ONE, "datatype": "FP32", "data": [1e300]}), 422, "data[0] is inf: a number must be finite"),
        (body({**ONE, "data": [10**400]}), 422, "int too large"),
        (body({**ONE, "datatype": "INT8", "data": [128]}), 422, "an integer from -128 to 127"),
        (body({**ONE, "datatype": "UINT64", "data": [-1]}), 422, "an integer from 0 to 18446744073709551615"),
        (body({**ONE, "datatype": "INT8", "data": [1.0]}), 422, "'1.0', not an integer"),
        (body({**ONE, "datatype": "INT8", "data": [True]}), 422, "'True', not an integer"),
        (body({**ONE, "datatype": "BOOL", "data": [1]}), 422, "'1', not true or false"),
        (body({**ONE, "datatype": "BYTES", "data": [1]}), 422, "'1', not a text"),
        (body(ONE, outputs=[{"name": "probability"}]), 422, "there is no 'probability': there are score, model"),
        (body(ONE, outputs=[{"name": "score", "parameters": {"classification": 3}}]), 422, "not offered"),
        (body(ONE, outputs=[{"name": "score", "parameters": {"binary_data": 1}}]), 422, "binary_data = 1"),
        (body({**ONE, "parameters": {"binary_data_size": 8}}), 400, "binary_data_size = 8 with 0 bytes left"),
        (body({**ONE, "parameters": {"binary_data_size": 0}}), 400, "and no data"),
        (body({**ONE, "parameters": {"binary_data_size": True}}), 400, "binary_data_size = True"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words_that_name_the_place(content, status, words):
    with pytest.raises(RefusedError) as caught:
        parse(content)
    assert caught.value.status == status
    assert words in caught.value.reason


@pytest.mark.parametrize(
    ("inputs", "status", "words"),
    [
        (("x", [1], "FP64", b"1234567"), 400, "7 bytes are no FP64 of shape [1]"),
        (("x", [2], "FP64", b"12345678"), 400, "8 bytes are no FP64 of shape [2]"),
        (("x", [2], "FP32", struct.pack("<ff", 1, float("nan"))), 422, "data[1] is nan"),
        (("x", [1], "BYTES", b"\x05\x00\x00\x00abc"), 400, "beyond its 7 bytes"),
        (("x", [1], "BYTES", b"\x05\x00"), 400, "beyond its 2 bytes"),
        (("x", [1], "BYTES", b"\xff\xff\xff\xff"), 400, "beyond its 4 bytes"),
        (("x", [2], "BYTES", b"\x00\x00\x00\x00"), 422, "has 1 values, and shape [2] 2"),
        (("x", [1], "BYTES", b"\x01\x00\x00\x00\xff"), 422, "text 0 is not UTF-8"),
    ],
)
def test_bytes_that_do_not_add_up_are_refused(inputs, status, words):
    with pytest.raises(RefusedError) as caught:
        parse(*binary(inputs))
    assert caught.value.status == status
    assert words in caught.value.reason


def test_bytes_left_over_belong_to_no_tensor():
    content, length = binary(("x", [1], "INT8", b"1"))
    with pytest.raises(RefusedError, match="2 bytes belong to no tensor"):
        parse(content + b"23", length)


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "99", "9" * 5000, "²"])
def test_a_header_length_that_is_no_part_of_the_body_is_refused(length):
    with pytest.raises(RefusedError, match="Inference-Header-Content-Length"):
        parse(b"{}", length)


def a_reply(**fields):
    filled = {
        "id": "a",
        "score": 0.25,
        "model": "m",
        "version": "1",
        "tier": -1,
        "reason": "default",
        "latency_seconds": 0.1,
        "within_sla": True,
    }
    return Reply(**{**filled, **fields})


def asked(outputs=None, *, binary=False):
    return Inference([], "a", None, None, outputs or {}, binary)


def test_the_answers_are_tensors():
    content, headers = respond(asked(), "birdwatch", "7", "a", [a_reply(), a_reply(score=None, model="k", tier=2)])
    assert headers == {"Content-Type": "application/json"}
    said = json.loads(content)
    assert (said["model_name"], said["model_version"], said["id"]) == ("birdwatch", "7", "a")
    assert said["outputs"] == [
        {"name": "score", "datatype": "FP64", "shape": [2], "data": [0.25, None]},
        {"name": "model", "datatype": "BYTES", "shape": [2], "data": ["m", "k"]},
        {"name": "version", "datatype": "BYTES", "shape": [2], "data": ["1", "1"]},
        {"name": "reason", "datatype": "BYTES", "shape": [2], "data": ["default", "default"]},
        {"name": "tier", "datatype": "INT32", "shape": [2], "data": [-1, 2]},
    ]


def test_what_there_is_only_sometimes_is_sent_where_there_is_one():
    replies = [a_reply(output={"top": [1, 2]}, accepted=True), a_reply(accepted=False)]
    content, _ = respond(asked(), "m", "1", "a", replies)
    outputs = {each["name"]: each for each in json.loads(content)["outputs"]}
    assert [json.loads(text) for text in outputs["output"]["data"]] == [{"top": [1, 2]}, None]
    assert outputs["accepted"] == {"name": "accepted", "datatype": "BOOL", "shape": [2], "data": [True, False]}


def test_only_what_is_asked_for_is_sent_in_that_order():
    content, _ = respond(asked({"tier": False, "output": False}), "m", "1", "a", [a_reply()])
    assert [(each["name"], each["data"]) for each in json.loads(content)["outputs"]] == [
        ("tier", [-1]),
        ("output", ["null"]),
    ]


def test_acceptance_may_be_asked_for_where_the_schedule_speaks_of_it():
    content = body(ONE, outputs=[{"name": "accepted"}])
    assert parse(content, accepts=True).outputs == {"accepted": False}
    with pytest.raises(RefusedError, match="there is no 'accepted'"):
        parse(content, accepts=False)


@given(
    st.lists(st.tuples(st.floats(allow_nan=False), st.text(), st.integers(-(2**31), 2**31 - 1)), min_size=1, max_size=5)
)
def test_answers_as_bytes_are_what_the_specification_says(values):
    replies = [a_reply(score=score, model=model, tier=tier) for score, model, tier in values]
    content, headers = respond(asked({"score": True, "model": True, "tier": False}), "m", "1", "a", replies)
    length = int(headers["Inference-Header-Content-Length"])
    assert headers["Content-Type"] == "application/octet-stream"
    score, model, tier = json.loads(content[:length])["outputs"]
    tail = content[length:]
    sizes = [each["parameters"]["binary_data_size"] for each in (score, model)]
    assert sum(sizes) == len(tail)
    assert list(struct.unpack(f"<{len(values)}d", tail[: sizes[0]])) == [value for value, _, _ in values]
    texts, at = [], sizes[0]
    while at < len(tail):
        (n,) = struct.unpack_from("<I", tail, at)
        texts.append(tail[at + 4 : at + 4 + n].decode())
        at += 4 + n
    assert texts == [text for _, text, _ in values]
    assert tier["data"] == [each for _, _, each in values]
