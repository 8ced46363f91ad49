"""What is left out of records before they are archived: fields that are dropped, or replaced by a keyed hash.

The hash is HMAC-SHA256 of the value as JSON: equal values stay equal, so that one can still count and join by them, and
nobody without the key can try out which value it was.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from birdwatch.errors import SettingsError
from birdwatch.records import UNREADABLE

__all__ = ["KEY", "Redaction", "read_key"]

KEY: Final = "BIRDWATCH_ARCHIVE_KEY"
"""The environment variable that holds the key, unless a file does."""

_SHORTEST_KEY: Final = 16


class Redaction:
    """Leaves fields out of the records of a stream.

    Parameters
    ----------
    only
        Paths such as ``features.origin``: of each object that one of them leads into, nothing else is kept.
    drop
        Paths of what is left out.
    hashed
        Paths of what is replaced by its keyed hash, 64 hexadecimal digits; null stays null.
    key
        The key of the hash, at least 16 bytes.

    Raises
    ------
    SettingsError
        There is something to hash and no key, or a short one; or a path of ``only`` leads into no object.

    Examples
    --------
    >>> left = Redaction(only=["features.origin"], drop=["key"])
    >>> left.apply(b'{"id": "r1", "key": "Ann", "features": {"origin": "JFK", "passenger": "Ann"}}')
    b'{"id":"r1","features":{"origin":"JFK"}}'
    """

    def __init__(
        self, *, only: Sequence[str] = (), drop: Sequence[str] = (), hashed: Sequence[str] = (), key: bytes = b""
    ) -> None:
        if hashed and len(key) < _SHORTEST_KEY:
            raise SettingsError(
                f"the key that hashes {', '.join(hashed)} has {len(key)} bytes: give one of at least {_SHORTEST_KEY}, as"
                " from `openssl rand -hex 32`"
            )
        kept: dict[tuple[str, ...], set[str]] = {}
        for path in only:
            *inside, name = path.split(".")
            if not inside:
                raise SettingsError(
                    f"only: {path!r} would leave the other fields of the record out: write features.NAME"
                )
            for depth in range(1, len(inside) + 1):
                kept.setdefault(tuple(inside[:depth]), set()).add([*inside, name][depth])
        self._only = kept
        self._drop = [tuple(path.split(".")) for path in drop]
        self._hashed = [tuple(path.split(".")) for path in hashed]
        self._key = key
        self._paths = {"only": sorted(only), "drop": sorted(drop), "hash": sorted(hashed)}

    def said(self) -> str:
        """Say what is left out, as JSON: goes into the metadata of the files. ``key`` tells keys apart, and is none."""
        paths: dict[str, Any] = {name: paths for name, paths in self._paths.items() if paths}
        if self._hashed:
            paths["key"] = self._digest(b"birdwatch archive: which key this is")[:16]
        return json.dumps(paths)

    def apply(self, value: bytes) -> bytes | None:
        """Give a record without what is to be left out, or None for what is not a JSON object: nobody knows what is in it."""
        try:
            record = msgspec.json.decode(value)
            if not isinstance(record, dict):
                return None
            for inside, names in self._only.items():
                found = _find(record, inside)
                if found is not None:
                    for name in [name for name in found if name not in names]:
                        del found[name]
            for path in self._drop:
                found, name = _find(record, path[:-1]), path[-1]
                if found is not None:
                    found.pop(name, None)
            for path in self._hashed:
                found, name = _find(record, path[:-1]), path[-1]
                if found is not None and found.get(name) is not None:
                    found[name] = self._digest(msgspec.json.encode(found[name], order="deterministic"))
            return msgspec.json.encode(record)
        except (*UNREADABLE, OverflowError):
            return None

    def _digest(self, content: bytes) -> str:
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()


def read_key(path: Path | None) -> bytes:
    """Give the key of the hash: what a file holds, without white space around it, or else the environment.

    Raises
    ------
    SettingsError
        The file cannot be read, or there is no key in either.
    """
    if path is None:
        key = os.environ.get(KEY, "").encode()
        where = f"the environment variable {KEY}"
    else:
        try:
            key = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"archive_key_file = {path}: {error.strerror}") from None
        where = str(path)
    if not key.strip():
        raise SettingsError(f"there is no key in {where}: set {KEY}, or let `archive_key_file` name a file with one")
    return key.strip()


def _find(record: Any, path: Sequence[str]) -> dict[str, Any] | None:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else None
