"""External state is injected once, before any model, so that all models see the same bytes.

A plug-in is a function ``(features, ts) -> features`` of the event time ``ts``; weather at the hour of a flight, say,
looked up in a table. With a configuration, what is named is a factory that is called with it and gives the function.
It runs inside the gateway, on every request: look things up in memory there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from birdwatch.errors import ServingError
from birdwatch.serving.plugins import find_callable

__all__ = ["Inject", "as_they_are", "load_features"]

Inject = Callable[[dict[str, Any], float], dict[str, Any]]


def as_they_are(features: dict[str, Any], ts: float) -> dict[str, Any]:
    """Inject nothing."""
    del ts
    return features


def load_features(target: str | None, config: str | None = None) -> Inject:
    """Load the plug-in.

    Parameters
    ----------
    target
        ``module:function``, or ``module:factory`` where there is a configuration; None injects nothing.
    config
        A path, or JSON: an object as text reaches the factory as a dictionary.

    Raises
    ------
    ServingError
        It cannot be found or made.
    """
    if target is None:
        if config is not None:
            raise ServingError("a configuration of features without a plug-in: name it with --features module:factory")
        return as_they_are
    found = find_callable(target)
    if config is None:
        return found
    try:
        given = msgspec.json.decode(config) if config.lstrip().startswith(("{", "[")) else Path(config)
        made = found(given)
    except Exception as error:
        raise ServingError(f"{target}({config}) gave no function: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise ServingError(f"{target}({config}) gave {type(made).__name__}, not a function")
    inject: Inject = made
    return inject
