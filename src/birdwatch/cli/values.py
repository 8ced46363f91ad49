"""Values that are more than a word on the command line."""

import json
from typing import Any

from birdwatch.errors import SettingsError

__all__ = ["json_object"]


def json_object(text: str, option: str) -> dict[str, Any]:
    """Read the JSON object that an option is given.

    Raises
    ------
    SettingsError
        It is none; the message names the option.

    Examples
    --------
    >>> json_object('{"positive": 1}', "--options")
    {'positive': 1}
    >>> json_object("[1]", "--options")
    Traceback (most recent call last):
    birdwatch.errors.SettingsError: --options '[1]' is no JSON object, which begins with a brace
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{option} {text!r} is no JSON object, which begins with a brace")
    return value
