"""External state is injected once, before any model, so that all models see the same bytes.

A plug-in is a function ``(features, ts) -> features`` of the event time ``ts``; weather at the hour of a flight, say,
looked up in a table. With a configuration, what is named is a factory that is called with it and gives the function.
It runs inside the gateway, on every request: look things up in memory there.

A plug-in that remembers what it has seen (the last delay of each aircraft, say) is an object that can be called, and has

- ``snapshot() -> JSON``: what it remembers;
- ``restore(state)``: begin with what an earlier one remembered, of this plug-in or of the one that it replaces;
- ``observe(features, ts)``: remember a request as it lies in the log, with what was injected into it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard

import msgspec

from birdwatch.errors import ServingError
from birdwatch.serving.plugins import find_callable

__all__ = [
    "Gone",
    "Inject",
    "Remembering",
    "as_they_are",
    "load_features",
    "observe",
    "remembers",
    "restore_state",
    "state_of",
]

Inject = Callable[[dict[str, Any], float], dict[str, Any]]

_STATE: Final = ("snapshot", "restore", "observe")


class Remembering(Protocol):
    """A plug-in with state."""

    def __call__(self, features: dict[str, Any], ts: float) -> dict[str, Any]:
        """Inject, and remember."""
        ...

    def snapshot(self) -> Any:
        """Give what is remembered, as JSON can say it."""
        ...

    def restore(self, state: Any) -> None:
        """Begin with what another remembered."""
        ...

    def observe(self, features: dict[str, Any], ts: float) -> None:
        """Remember a request that another has injected into."""
        ...


def as_they_are(features: dict[str, Any], ts: float) -> dict[str, Any]:
    """Inject nothing."""
    del ts
    return features


def remembers(inject: Inject) -> TypeGuard[Remembering]:
    """Say whether a plug-in has state."""
    return all(callable(getattr(inject, name, None)) for name in _STATE)


def load_features(target: str | None, config: Any = None) -> Inject:
    """Load the plug-in.

    Parameters
    ----------
    target
        ``module:function``, or ``module:factory`` where there is a configuration; None injects nothing. A class is
        called for an object, with or without a configuration.
    config
        A path, or JSON: an object as text reaches the factory as a dictionary.

    Raises
    ------
    ServingError
        It cannot be found or made, or it has some of the methods of a plug-in with state, and lacks others.
    """
    if target is None:
        if config is not None:
            raise ServingError("a configuration of features without a plug-in: name it with --features module:factory")
        return as_they_are
    found = find_callable(target)
    if config is None and not isinstance(found, type):
        made = found
    else:
        try:
            made = found() if config is None else found(_read(config))
        except Exception as error:
            raise ServingError(f"{target}({config}) gave no function: {type(error).__name__}: {error}") from error
        if not callable(made):
            raise ServingError(f"{target}({config}) gave {type(made).__name__}, not a function")
    lacks = [name for name in _STATE if not callable(getattr(made, name, None))]
    if 0 < len(lacks) < len(_STATE):
        raise ServingError(f"{target} has no {' and no '.join(lacks)}: a plug-in with state has {', '.join(_STATE)}")
    inject: Inject = made
    return inject


def _read(config: Any) -> Any:
    if not isinstance(config, str):
        return config
    return msgspec.json.decode(config) if config.lstrip().startswith(("{", "[")) else Path(config)


def state_of(plug_in: Remembering, target: str | None) -> bytes:
    """Give what a plug-in remembers, as JSON.

    Raises
    ------
    ServingError
        It raises, or gives what JSON cannot say.
    """
    try:
        return msgspec.json.encode(plug_in.snapshot())
    except Exception as error:
        raise ServingError(f"{target} gave no snapshot: {type(error).__name__}: {error}") from error


def restore_state(plug_in: Remembering, state: Any, target: str | None) -> None:
    """Let a plug-in begin with a state; nothing is nothing to begin with.

    Raises
    ------
    ServingError
        It cannot.
    """
    if state is None:
        return
    try:
        plug_in.restore(state)
    except Exception as error:
        raise ServingError(f"{target} cannot begin with that state: {type(error).__name__}: {error}") from error


def observe(plug_in: Remembering, features: dict[str, Any], ts: float, target: str | None) -> None:
    """Let a plug-in remember a request from the log.

    Raises
    ------
    ServingError
        It cannot.
    """
    try:
        plug_in.observe(features, ts)
    except Exception as error:
        raise ServingError(f"{target} cannot observe {features!r:.200}: {type(error).__name__}: {error}") from error


class Gone:
    """A plug-in that can no longer be loaded: it hands on what it remembered, and injects nothing.

    Parameters
    ----------
    why
        It cannot be loaded.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        self._state: Any = None

    def __call__(self, features: dict[str, Any], ts: float) -> dict[str, Any]:
        """Refuse."""
        del features, ts
        raise ServingError(self.why)

    def snapshot(self) -> Any:
        """Give what it was restored with."""
        return self._state

    def restore(self, state: Any) -> None:
        """Keep it for who comes next."""
        self._state = state

    def observe(self, features: dict[str, Any], ts: float) -> None:
        """Pass by: how it would have remembered that is not known any more."""
