"""Wakes who waits for a file on this machine to change: whoever has changed it rings, by touching it.

This rests on Linux's inotify. Where that is not to be had, nothing rings, and who waits looks more often instead.
"""

import contextlib
import ctypes
import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["Bell", "ring"]

_IN_ATTRIB: Final = 0x4  # as <sys/inotify.h> has it; the library wraps the three calls and nothing else
_ENOUGH: Final = 65536

_libc: Final = ctypes.CDLL(None)


class Bell:
    """Hears some files, for one thread; opened when it is first used.

    Parameters
    ----------
    paths
        One that does not exist yet is heard from the first wait that finds it.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._deaf_to = list(paths)
        self._events: int | None = None
        self._ready = select.poll()

    @property
    def hears(self) -> bool:
        """Whether waiting is of any use: the kernel knows inotify, and has some left for this process."""
        if self._events is None:
            begin = getattr(_libc, "inotify_init1", None)
            self._events = -1 if begin is None else begin(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._events >= 0:
                self._ready.register(self._events, select.POLLIN)
        return self._events >= 0

    def wait(self, seconds: float) -> bool:
        """Wait for a ring, so long at most; one since the last wait ends it at once.

        Returns
        -------
        bool
            Whether there was one. A file heard for the first time counts: it may have changed before.
        """
        assert self.hears  # noqa: S101 - the caller has asked
        assert self._events is not None  # noqa: S101 - it hears
        found = [path for path in self._deaf_to if self._listen(path)]
        if found:
            self._deaf_to = [path for path in self._deaf_to if path not in found]
            return True
        rang = bool(self._ready.poll(seconds * 1000))
        if rang:
            os.read(self._events, _ENOUGH)  # which of the files it was does not matter
        return rang

    def close(self) -> None:
        """Let go of what is held."""
        if self._events is not None and self._events >= 0:
            os.close(self._events)
        self._events = -1

    def _listen(self, path: Path) -> bool:
        return bool(_libc.inotify_add_watch(self._events, os.fsencode(path), _IN_ATTRIB) >= 0)


def ring(path: Path) -> None:
    """Wake those who wait for a file; those who do not hear it look by themselves."""
    with contextlib.suppress(OSError):
        os.utime(path)
