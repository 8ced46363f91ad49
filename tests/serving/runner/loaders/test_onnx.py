import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scipy import special

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Answer, Spec, load_model, score_batch

WEIGHTS = np.array([0.5, -1.25, 2.0], dtype=np.float32)
NAMES = ["distance", "wind", "hour"]
ROWS = [{"hour": h, "distance": d, "wind": w, "gate": "C7"} for h, d, w in [(1, 0.5, 2), (2.5, -1, 0), (0, 3, 1.5)]]
LOGITS = [0.5 * row["distance"] - 1.25 * row["wind"] + 2.0 * row["hour"] for row in ROWS]


def graph(nodes, inputs, outputs, constants=(), metadata=None, domains=()):
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
            [
                helper.make_tensor_value_info(name, kind, shape) if kind else onnx.ValueInfoProto(name=name)
                for name, kind, shape in outputs
            ],
            [onnx.numpy_helper.from_array(value, name) for name, value in dict(constants).items()],
        ),
        opset_imports=[helper.make_opsetid("", 19), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=9,
    )
    if metadata:
        helper.set_model_props(made, metadata)
    return made


def linear(shape=("n", 3), kind=TensorProto.FLOAT, **others):
    """One input of three features; what comes out is [n, 1]."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    return graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", kind, shape)],
        [("y", kind, [shape[0], 1])],
        {"w": WEIGHTS.reshape(3, 1).astype(dtype)},
        **others,
    )


def probabilities(zipmap=None):
    """The probabilities of two classes, [n, 2], after a first output that is no score."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
    ]
    out = ("p", TensorProto.FLOAT, ["n", 2])
    if zipmap:
        nodes.append(helper.make_node("ZipMap", ["p"], ["map"], domain="ai.onnx.ml", **zipmap))
        out = ("map", None, None)
    weights = np.stack([np.zeros(3, dtype=np.float32), WEIGHTS], axis=1)
    inputs = [("x", TensorProto.FLOAT, ["n", 3])]
    return graph(nodes, inputs, [("label", TensorProto.INT64, ["n"]), out], {"w": weights}, domains=["ai.onnx.ml"])


@pytest.fixture
def load(tmp_path):
    def loaded(model, **options):
        path = tmp_path / "model.onnx"
        if zipmap := [node for node in model.graph.node if node.op_type == "ZipMap"]:
            key = TensorProto.INT64 if zipmap[0].attribute[0].name == "classlabels_int64s" else TensorProto.STRING
            value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
            kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
            model.graph.output[-1].type.CopyFrom(kind)
        onnx.save(model, path)
        return load_model(Spec("1", "onnx", str(path), options))

    return loaded


def scores(model, rows=ROWS):
    answers = score_batch(model, rows)
    assert [a.error for a in answers] == [None] * len(rows)
    return [a.score for a in answers]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("shape", [("n", 3), (None, None)])
def test_one_input_takes_the_features_in_the_order_that_is_given(load, kind, shape):
    assert scores(load(linear(shape, kind), features=NAMES)) == pytest.approx(LOGITS)


def test_or_in_the_order_that_stands_in_the_graph(load):
    model = load(linear(metadata={"features": json.dumps(NAMES)}))
    assert scores(model) == pytest.approx(LOGITS)
    with pytest.raises(ServingError, match="no JSON list of names"):
        load(linear(metadata={"features": "distance, wind, hour"}))


def test_a_graph_that_takes_one_row_at_a_time_is_given_one(load):
    assert scores(load(linear((1, 3)), features=NAMES)) == pytest.approx(LOGITS)


def test_of_two_classes_it_is_the_second_or_the_one_that_is_named(load):
    assert scores(load(probabilities(), features=NAMES)) == pytest.approx(special.expit(LOGITS))
    assert scores(load(probabilities(), features=NAMES, positive=0)) == pytest.approx(
        special.expit(np.negative(LOGITS))
    )


@pytest.mark.parametrize(
    ("zipmap", "first"),
    [({"classlabels_int64s": [0, 1]}, 0), ({"classlabels_strings": ["in time", "late"]}, "in time")],
)
def test_classes_under_their_labels_are_read_too(load, zipmap, first):
    assert scores(load(probabilities(zipmap), features=NAMES)) == pytest.approx(special.expit(LOGITS))
    others = scores(load(probabilities(zipmap), features=NAMES, positive=first))
    assert others == pytest.approx(special.expit(np.negative(LOGITS)))
    [answer] = score_batch(load(probabilities(zipmap), features=NAMES, positive="none"), ROWS[:1])
    assert "'positive' is 'none', and the classes are" in answer.error


def test_another_output_is_taken_when_it_is_named(load):
    labels = scores(load(probabilities(), features=NAMES, output="label"))
    assert labels == [float(logit > 0) for logit in LOGITS]
    with pytest.raises(ServingError, match="there is no 'score' among label, p"):
        load(probabilities(), features=NAMES, output="score")


@pytest.mark.parametrize("shape", [["n"], ["n", 1]])
def test_an_input_a_feature_is_named_after_it(load, shape):
    made = graph(
        [
            helper.make_node("Cast", ["hour"], ["h"], to=TensorProto.FLOAT),
            helper.make_node("Equal", ["carrier", "ua"], ["is_ua"]),
            helper.make_node("Cast", ["is_ua"], ["u"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["wind", "h"], ["a"]),
            helper.make_node("Add", ["a", "u"], ["score"]),
        ],
        [
            ("wind", TensorProto.FLOAT, shape),
            ("hour", TensorProto.INT64, shape),
            ("carrier", TensorProto.STRING, shape),
        ],
        [("score", TensorProto.FLOAT, shape)],
        {"ua": np.array(["UA"], dtype=object)},
    )
    model = load(made)
    rows = [{"carrier": "UA", "hour": 7, "wind": 0.5}, {"carrier": "AA", "hour": 8.0, "wind": 0.25}]
    assert scores(model, rows) == [8.5, 8.25]
    bad = [{**rows[0], **wrong} for wrong in ({"hour": 7.5}, {"hour": None}, {"carrier": 3}, {"wind": "0.5"})]
    said = [answer.error for answer in score_batch(model, bad)]
    assert said == [
        "feature 'hour' is 7.5, which does not go into tensor(int64)",
        "feature 'hour' is null, which does not go into tensor(int64)",
        "feature 'carrier' is 3, which does not go into tensor(string)",
        "feature 'wind' is '0.5', which does not go into tensor(float)",
    ]


def test_a_single_feature_needs_no_order(load):
    made = graph(
        [helper.make_node("Neg", ["wind"], ["y"])],
        [("wind", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.FLOAT, ["n", 1])],
    )
    assert scores(load(made), ROWS) == [-2.0, 0.0, -1.5]


def test_a_feature_that_is_missing_is_named_and_a_null_is_nan(load):
    model = load(linear(), features=NAMES)
    answers = score_batch(model, [ROWS[0], {"hour": 1, "distance": 2}, {**ROWS[0], "wind": None}])
    assert answers[0].score == pytest.approx(LOGITS[0])
    assert answers[1:] == [
        Answer(None, "the request has no feature 'wind'"),
        Answer(None, "the model returned nan"),
    ]


def test_what_does_not_fit_is_said_when_it_is_loaded(load, tmp_path):
    with pytest.raises(ServingError, match=r'takes 3 features at once: give their order .*"features"'):
        load(linear())
    with pytest.raises(ServingError, match="takes 3 features, and 2 are named"):
        load(linear(), features=["wind", "hour"])
    (tmp_path / "broken.onnx").write_bytes(b"neither")
    with pytest.raises(ServingError, match="cannot be read as an ONNX graph"):
        load_model(Spec("1", "onnx", str(tmp_path / "broken.onnx")))
    with pytest.raises(ServingError, match="cannot be read as an ONNX graph"):
        load_model(Spec("1", "onnx", str(tmp_path / "missing.onnx")))


def test_more_numbers_a_row_than_two_need_a_word(load):
    made = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
    )
    assert scores(load(made, features=NAMES, positive=2)) == [1.0, 2.5, 0.0]
    [answer] = score_batch(load(made, features=NAMES), ROWS[:1])
    assert answer.error == "the model gives 3 numbers a row: say which with the option 'positive', from 0"
    [answer] = score_batch(load(made, features=NAMES, positive=3), ROWS[:1])
    assert answer.error == "option 'positive': there is no column 3 among 3"
