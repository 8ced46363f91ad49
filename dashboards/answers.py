"""What people say to an alert from the page: that they look after it, or that nobody is to be told for a while."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw
import facts
import streamlit as st
from view import opened

from birdwatch.alerts.acknowledgements import acknowledge
from birdwatch.alerts.beside import beside
from birdwatch.alerts.matchers import parse_matcher
from birdwatch.alerts.silences import Silence, add_silence, expire_silence, read_silences
from birdwatch.errors import BirdwatchError
from birdwatch.windows.store import Store
from birdwatch.windows.tables import timestamp

if TYPE_CHECKING:
    import pandas as pd

_PATIENCE_SECONDS: Final = 10.0  # a person waits; the process that counts may judge for long
_LENGTHS: Final = {"30 minutes": 1800, "2 hours": 7200, "a day": 86_400, "a week": 604_800}
_CLOCK: Final = "%d %b %H:%M UTC"


def answers(alert: "pd.Series[Any]", path: Path) -> None:
    """Let people acknowledge or silence an alert that fires."""
    key = alert["fingerprint"]
    row = st.container(horizontal=True)
    seen = alert["acknowledged"]
    label = f"{seen} looks after it" if seen else "Look after it"
    with (
        row.popover(label, icon=":material/person_check:", key=f"ack-{key}"),
        st.form(f"ack-form-{key}", border=False),
    ):
        st.caption("Others see who is at it, until it resolves. It goes on firing.")
        author = st.text_input("Your name", _login(), key=f"ack-author-{key}")
        note = st.text_input("What others should know", key=f"ack-note-{key}")
        if st.form_submit_button("Acknowledge", key=f"ack-do-{key}"):
            _say(path, partial(acknowledge, fingerprint=key, author=author, now=time.time(), note=note))
    with (
        row.popover("Silence", icon=":material/notifications_off:", key=f"silence-{key}"),
        st.form(f"silence-form-{key}", border=False),
    ):
        st.caption("The history keeps it; receivers are told of it again when the silence ends, if it still fires.")
        what = st.selectbox("What", _choices(alert), key=f"silence-what-{key}")
        length = st.selectbox("How long", list(_LENGTHS), index=1, key=f"silence-length-{key}")
        author = st.text_input("Your name", _login(), key=f"silence-author-{key}")
        reason = st.text_input("Why", key=f"silence-reason-{key}")
        if st.form_submit_button("Silence", key=f"silence-do-{key}"):
            now = time.time()
            _say(
                path,
                partial(
                    add_silence,
                    matchers=[parse_matcher(what)],
                    until=now + _LENGTHS[length],
                    author=author,
                    reason=reason,
                    now=now,
                ),
            )


def silences(path: Path) -> None:
    """Show what is silenced, and let people end that."""
    with opened(path) as store:
        found = read_silences(store, time.time())
    if not found:
        return
    st.subheader("Silences", anchor="silences", help="In force or to come; by the clock on the wall")
    for silence in found:
        row = st.container(horizontal=True, vertical_alignment="center")
        row.markdown(_in_words(silence), width="stretch")
        if row.button("End it", key=f"unsilence-{silence.id}"):
            _say(path, partial(expire_silence, number=silence.id, now=time.time()))


def _in_words(silence: Silence) -> str:
    what = " ".join(f"`{matcher}`" for matcher in silence.matchers)
    from_ = f"from {timestamp(silence.starts):{_CLOCK}} " if silence.state(time.time()) == "pending" else ""
    return f"{what} {from_}until **{timestamp(silence.ends):{_CLOCK}}** · {silence.author}: {silence.reason}"


def _choices(alert: "pd.Series[Any]") -> list[str]:
    named = {"fingerprint": alert["fingerprint"], "model": alert["model"], "rule": alert["rule"]}
    return [f"{label}={value}" for label, value in named.items() if value]


def _login() -> str:
    """Give the name of who has logged in, where the dashboard asks for that."""
    user: Any = st.user
    return str(user.get("name") or user.get("email") or "") if user.get("is_logged_in") else ""


def _say(path: Path, say: Callable[[Store], object]) -> None:
    """Write what somebody said, and show at once what has come of it."""
    try:
        with beside(path, _PATIENCE_SECONDS) as store:
            say(store)
    except (BirdwatchError, apsw.Error) as error:
        st.toast(str(error), icon=":material/error:", duration="long")
        return
    facts.forget_alerts()
    st.rerun()
