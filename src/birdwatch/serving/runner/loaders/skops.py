"""Loads a skops file: a scikit-learn estimator that brings no code of its own, only types that somebody trusts."""

from collections.abc import Sequence
from typing import Any
from zipfile import BadZipFile

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Model

__all__ = ["load"]


def load(
    artifact: str,
    *,
    trusted: Sequence[str] = (),
    features: Sequence[str] | None = None,
    positive: Any = None,
) -> Model:
    """Load an estimator from a skops file.

    Parameters
    ----------
    trusted
        The types it may be made of, beside those that skops trusts by itself.
    features, positive
        As for `birdwatch.serving.runner.loaders.estimator.as_model`.

    Raises
    ------
    ServingError
        The file cannot be read, or holds types that are not trusted; the message names them and the remedy.
    """
    try:
        import skops.io as skops  # noqa: PLC0415 - imports scikit-learn

        from birdwatch.serving.runner.loaders.estimator import as_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ServingError(
            f"skops files need more than is installed ({error}): pip install 'birdwatch[skops]'"
        ) from error
    try:
        untrusted = sorted(set(skops.get_untrusted_types(file=artifact)) - set(trusted))
        if untrusted:
            listed = ", ".join(f'"{name}"' for name in untrusted)
            raise ServingError(
                f"it holds types that are not trusted: {listed}. Who made the file is to say what they are; if you"
                f' trust them, list them in the options: {{"trusted": [{listed}]}}'
            )
        estimator = skops.load(artifact, trusted=list(trusted))
    except (OSError, BadZipFile, ValueError, KeyError) as error:
        raise ServingError(f"it cannot be read as a skops file: {error}") from error
    return as_model(estimator, features, positive)
