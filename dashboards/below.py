"""What lies below the first screen: it is worked out, sent and drawn once somebody comes near it, and not before."""

from collections.abc import Callable
from typing import Final

import streamlit as st

_ROOM: Final = 600
"""How much room is kept, in pixels, for what is not drawn yet: so there is something to scroll to."""

# Whoever begins to scroll will be there soon; on a large screen it is seen without that.
_WATCH: Final = """
export default function ({ parentElement, data, setStateValue }) {
  parentElement.style.minHeight = data.room + "px";
  parentElement.dataset.below = data.room ? "awaited" : "drawn";
  if (!data.room) return;
  const seen = new IntersectionObserver(found => found.some(one => one.isIntersecting) && tell());
  const leave = () => { seen.disconnect(); removeEventListener("scroll", tell, true); };
  const tell = () => { leave(); setStateValue("reached", true); };
  seen.observe(parentElement);
  addEventListener("scroll", tell, true);
  return leave;
}
"""

_watch = st.components.v2.component("birdwatch_below", js=_WATCH, isolate_styles=False)


def below(draw: Callable[[], None], key: str = "below") -> None:
    """Draw what lies below once a reader comes near it; from then on it is drawn with the rest.

    It is no fragment of its own: what browsers keep of a fragment within another, which runs with that, they never drop.

    Parameters
    ----------
    draw
        Draws it; what it takes to know what to draw is best asked for in here.
    key
        Tells it apart from others on the page.
    """
    if reached(key):
        draw()


def reached(key: str) -> bool:
    """Say whether the reader has come near."""
    known = bool(st.session_state.get(key, {}).get("reached"))
    return bool(_watch(key=key, data={"room": 0 if known else _ROOM}, on_reached_change=_told).reached)


def _told() -> None:
    """Nothing else is to be done: the page is drawn again by itself."""
