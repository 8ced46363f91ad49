"""Loads a pickle, when the command line allows it and the file is the very one that somebody has looked at."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Model

__all__ = ["load"]


def load(
    artifact: str,
    *,
    sha256: str = "",
    features: Sequence[str] | None = None,
    positive: Any = None,
) -> Model:
    """Load what joblib or pickle has written: an estimator, or a function from a batch of features to as many numbers.

    Parameters
    ----------
    sha256
        The hash of the file, in hexadecimal.
    features, positive
        As for `birdwatch.serving.runner.loaders.estimator.as_model`.

    Raises
    ------
    ServingError
        The file has another hash, or cannot be read.
    """
    try:
        # What is hashed is what is loaded: the file may be changed in between.
        content = Path(artifact).read_bytes()
    except OSError as error:
        raise ServingError(f"it cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        said = f"not {sha256}" if sha256 else "and none was given"
        raise ServingError(
            f"its SHA-256 is {found}, {said}. Reading a pickle runs the code in it: compare the hash with the one that"
            f' its maker gets by sha256sum, and name it in the options: {{"sha256": "..."}}. Better, have it saved with'
            " skops, which runs none"
        )
    try:
        import joblib  # noqa: PLC0415 - takes a while

        from birdwatch.serving.runner.loaders.estimator import as_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ServingError(f"pickles need more than is installed ({error}): pip install 'birdwatch[skops]'") from error
    loaded: Any = joblib.load(io.BytesIO(content))  # plain pickles too
    if callable(loaded) and not hasattr(loaded, "predict"):
        model: Model = loaded
        return model
    return as_model(loaded, features, positive)
