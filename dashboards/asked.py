"""What a page asks of a store, and how answers are remembered: all who ask the same share one."""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import streamlit as st
from streamlit.runtime.caching.cache_utils import CachedFunc
from view import opened

from birdwatch.windows.memory import Memory
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span

__all__ = ["Asked", "keeps", "loads", "memory"]

_LONG: Final = 1_800.0
"""Verdicts once given stay: an answer that is asked for as of the last of them is good until the next."""
_ANSWERS: Final = 32

P = ParamSpec("P")
T = TypeVar("T")


class Asked(NamedTuple):
    """What is asked of a store; while no pane closes, the same question has the same answer.

    Attributes
    ----------
    closed
        The panes that are closed.
    segment
        A part of the traffic, or everything.
    """

    path: Path
    span: Span
    closed: tuple[int, int]
    segment: str = ""

    @property
    def until(self) -> int:
        """Up to when, in event time, this is known."""
        return min(self.closed[1], self.span.until)


def loads(
    load: Callable[Concatenate[Store, Asked, P], T], seconds: float = 60.0
) -> CachedFunc[Concatenate[Asked, P], T]:
    """Open the store for this load alone, and remember the answer: all who ask the same are given the same tables.

    So nobody may change them.
    """

    def loaded(asked: Asked, *arguments: P.args, **named: P.kwargs) -> T:
        with opened(asked.path, memory()) as store:
            return load(store, asked, *arguments, **named)

    # Streamlit tells caches apart by the name of what they are of.
    loaded.__qualname__, loaded.__doc__ = load.__qualname__, load.__doc__
    return st.cache_resource(ttl=seconds, max_entries=_ANSWERS, show_spinner=False)(loaded)


def keeps(load: Callable[Concatenate[Store, Asked, P], T]) -> CachedFunc[Concatenate[Asked, P], T]:
    """Do so for long."""
    return loads(load, _LONG)


@st.cache_resource(show_spinner=False)
def memory() -> Memory:
    """Give what all readers have added up of stores."""
    return Memory()
