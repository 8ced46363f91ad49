import hashlib
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Spec, load_model


class Traitor:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def load(path, **options):
    return load_model(Spec("1", "pickle", str(path), options), allow_pickle=True)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def estimator():
    x = np.linspace(-1, 1, 50)
    return LogisticRegression().fit(pd.DataFrame({"x": x}), x > 0.2)


@pytest.mark.parametrize("dump", [joblib.dump, lambda model, path: path.write_bytes(pickle.dumps(model))])
def test_an_estimator_is_asked_whoever_wrote_it(tmp_path, estimator, dump):
    path = tmp_path / "model.pkl"
    dump(estimator, path)
    expected = estimator.predict_proba(pd.DataFrame({"x": [0.5]}))[0, 1]
    assert load(path, sha256=sha256(path))([{"x": 0.5}]) == [expected]
    assert load(path, sha256=sha256(path).upper(), positive=False)([{"x": 0.5}]) == [pytest.approx(1 - expected)]


def test_a_function_is_called_as_it_is(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(np.mean))
    assert load(path, sha256=sha256(path)) is np.mean


@pytest.mark.parametrize("given", [{}, {"sha256": "ab" * 32}])
def test_without_its_hash_no_code_of_it_runs(tmp_path, given):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Traitor()))
    with pytest.raises(ServingError, match=f"its SHA-256 is {sha256(path)}, .*sha256sum.*skops"):
        load(path, **given)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServingError, match=r"gone.pkl'\): it cannot be read: No such file"):
        load(tmp_path / "gone.pkl", sha256="ab" * 32)


def test_a_file_that_is_no_pickle_is_named(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"neither")
    with pytest.raises(ServingError, match=r"model.pkl'\) gave no model"):
        load(path, sha256=sha256(path))
