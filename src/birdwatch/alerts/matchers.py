"""Matchers choose alerts, written and understood as in Alertmanager: ``model=~chall.*``, ``severity!=page``."""

import difflib
import re
from typing import Final, Literal

import msgspec

from birdwatch.errors import SettingsError
from birdwatch.records import Alert

__all__ = ["LABELS", "Matcher", "parse_matcher"]

LABELS: Final = ("rule", "model", "version", "partner", "severity", "feature", "attribution", "fingerprint")
"""What matchers can look at."""

_WRITTEN: Final = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


class Matcher(msgspec.Struct, frozen=True):
    """One condition on an alert.

    Attributes
    ----------
    label
        One of `LABELS`.
    operator
        ``=`` and ``!=`` compare, ``=~`` and ``!~`` match a regular expression against the whole of it.
    value
        With what; of fingerprints ``=`` takes the first digits.
    """

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str

    def matches(self, alert: Alert) -> bool:
        """Tell whether an alert meets it.

        >>> alert = Alert(fingerprint="b291dd84", ts=60.0, started=0.0, state="firing", rule="pairs", severity="page",
        ...               attribution="", model="challenger", version="2", reason="")
        >>> [parse_matcher(m).matches(alert) for m in ("model=~chall.*", "version!=2", "feature=", "fingerprint=b29")]
        [True, False, True, True]
        """
        return self._meets(str(getattr(alert, self.label)))

    @property
    def takes_anything(self) -> bool:
        """Tell whether it would choose even what has no such label."""
        return self._meets("")

    def _meets(self, found: str) -> bool:
        if self.operator in ("=~", "!~"):
            same = re.fullmatch(self.value, found) is not None
        elif self.label == "fingerprint" and self.value:
            same = found.startswith(self.value)
        else:
            same = found == self.value
        return same is self.operator.startswith("=")

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.label}{self.operator}{self.value}"


def parse_matcher(text: str) -> Matcher:
    """Read a matcher; quotes around the value may be there.

    Raises
    ------
    SettingsError
        It is none; the message says how to write one.

    Examples
    --------
    >>> parse_matcher('model =~ "chall.*"')
    Matcher(label='model', operator='=~', value='chall.*')
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise SettingsError(f"{text!r} is no matcher: write label=value, label!=value, label=~regex or label!~regex")
    label, operator, value = found.groups()
    if label not in LABELS:
        near = difflib.get_close_matches(label, LABELS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(LABELS)}"
        raise SettingsError(f"{text!r}: an alert has no {label!r}: {hint}")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if "~" in operator:
        try:
            re.compile(value)
        except re.error as error:
            raise SettingsError(f"{text!r}: {value!r} is no regular expression: {error}") from error
    return msgspec.convert({"label": label, "operator": operator, "value": value}, Matcher)
