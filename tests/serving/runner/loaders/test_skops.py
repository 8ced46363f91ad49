import json

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Spec, load_model, score_batch


@pytest.fixture
def flights():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "distance": rng.integers(100, 3000, 200),
            "carrier": rng.choice(["AA", "UA"], 200),
            "wind": rng.normal(10, 4, 200),
        }
    )
    late = (frame["wind"] + 3 * (frame["carrier"] == "UA") + rng.normal(0, 3, 200) > 12).astype(int)
    return frame, late


@pytest.fixture
def classifier(flights):
    encode = make_column_transformer((OneHotEncoder(), ["carrier"]), remainder="passthrough")
    return make_pipeline(encode, LogisticRegression(max_iter=2000)).fit(*flights)


@pytest.fixture
def load(tmp_path):
    def loaded(estimator, **options):
        path = tmp_path / "model.skops"
        skops.io.dump(estimator, path)
        return load_model(Spec("1", "skops", str(path), options))

    return loaded


def shuffled(frame):
    """The rows as requests: each its own object, in an order of its own, with more than the model needs."""
    rows = json.loads(json.dumps(frame.to_dict("records")))
    return [{"gate": "C7", **dict(reversed(row.items()))} for row in rows]


def test_a_classifier_gives_the_probability_of_its_second_class(flights, classifier, load):
    frame, _ = flights
    answers = score_batch(load(classifier), shuffled(frame))
    assert [a.score for a in answers] == classifier.predict_proba(frame)[:, 1].tolist()


def test_or_of_the_one_that_is_named(flights, load):
    frame, late = flights
    words = np.array(["early", "late", "lost"])[late + (frame["distance"] > 2500)]
    estimator = LogisticRegression(max_iter=5000).fit(frame[["wind", "distance"]], words)
    answers = score_batch(load(estimator, positive="late"), shuffled(frame))
    assert [a.score for a in answers] == estimator.predict_proba(frame[["wind", "distance"]])[:, 1].tolist()
    with pytest.raises(ServingError, match="'positive' is None, and the classes are 'early', 'late', 'lost'"):
        load(estimator)


def test_what_is_no_classifier_gives_its_prediction(flights, load):
    frame, _ = flights
    estimator = LinearRegression().fit(frame[["distance"]], frame[["wind"]])  # a column: predictions are [n, 1]
    answers = score_batch(load(estimator), shuffled(frame))
    assert [a.score for a in answers] == estimator.predict(frame[["distance"]])[:, 0].tolist()


def test_one_that_was_fitted_on_an_array_is_told_the_order(flights, load):
    frame, late = flights
    estimator = LogisticRegression(max_iter=5000).fit(frame[["wind", "distance"]].to_numpy(), late)
    answers = score_batch(load(estimator, features=["wind", "distance"]), shuffled(frame))
    expected = estimator.predict_proba(frame[["wind", "distance"]].to_numpy())[:, 1]
    assert [a.score for a in answers] == expected.tolist()
    with pytest.raises(ServingError, match="columns without names: give their order"):
        load(estimator)
    with pytest.raises(ServingError, match="takes 2 features, and the option 'features' names 1"):
        load(estimator, features=["wind"])


def test_features_of_other_names_go_into_the_columns_in_order(flights, classifier, load):
    frame, _ = flights
    rows = [{"d": row["distance"], "c": row["carrier"], "w": row["wind"]} for row in shuffled(frame)]
    answers = score_batch(load(classifier, features=["d", "c", "w"]), rows)
    assert [a.score for a in answers] == classifier.predict_proba(frame)[:, 1].tolist()


def test_a_feature_that_is_missing_is_named_and_costs_only_its_own_score(flights, classifier, load):
    frame, _ = flights
    rows = shuffled(frame.head(3))
    del rows[1]["wind"], rows[1]["carrier"]
    answers = score_batch(load(classifier), rows)
    assert [a.score is None for a in answers] == [False, True, False]
    assert answers[1].error == "the request has no feature 'carrier', 'wind'"


def test_a_value_that_the_estimator_refuses_costs_only_its_own_score(flights, classifier, load):
    rows = shuffled(flights[0].head(3))
    rows[0]["wind"], rows[1]["carrier"] = None, "ZZ"
    answers = score_batch(load(classifier), rows)
    assert [a.score is None for a in answers] == [True, True, False]
    assert "NaN" in answers[0].error
    assert "ZZ" in answers[1].error


def test_types_that_are_not_trusted_are_named_with_the_remedy(flights, tmp_path, load):
    frame, late = flights
    steps = FunctionTransformer(np.nan_to_num), LogisticRegression(max_iter=5000)
    estimator = make_pipeline(*steps).fit(frame[["wind"]] / 100, late)
    with pytest.raises(
        ServingError,
        match=r'not trusted: "numpy.nan_to_num"\. .*\{"trusted": \["numpy.nan_to_num"\]\}',
    ):
        load(estimator)
    assert load(estimator, trusted=["numpy.nan_to_num"])([{"wind": 0.1}]) == [
        estimator.predict_proba(pd.DataFrame({"wind": [0.1]}))[0, 1]
    ]


def test_what_is_no_estimator_is_said_so(load):
    with pytest.raises(ServingError, match="holds dict, which predicts nothing"):
        load({"a": 1})


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "model.skops"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ServingError, match=r"skops\('.*model.skops'\): it cannot be read as a skops file"):
        load_model(Spec("1", "skops", str(path)))


def test_an_option_it_does_not_have_is_named(load, classifier):
    with pytest.raises(ServingError, match="'trust'; the options are features, positive, trusted"):
        load(classifier, trust=["all"])
