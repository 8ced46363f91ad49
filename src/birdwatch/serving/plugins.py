"""Finds the callables that people name as ``module:function``."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from birdwatch.errors import ServingError

__all__ = ["find_callable"]


def find_callable(name: str) -> Callable[..., Any]:
    """Import what is named ``module:function``; modules in the working directory are found too.

    Raises
    ------
    ServingError
        The name has another form, the module cannot be imported, or has no such function.

    Examples
    --------
    >>> find_callable("math:sqrt")(9.0)
    3.0
    >>> find_callable("math:squareroot")
    Traceback (most recent call last):
    birdwatch.errors.ServingError: 'math:squareroot': module 'math' has no 'squareroot'
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ServingError(f"{name!r} names no function: write module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ServingError(f"{name!r}: {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ServingError(f"{name!r}: module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ServingError(f"{name!r} is {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function
