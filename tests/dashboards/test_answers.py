"""People answer an alert from its page; what they say is in the store, and on the page at once."""

import time

import pytest

from birdwatch.alerts.history import read_alerts
from birdwatch.alerts.silences import read_silences
from birdwatch.windows.store import Store

from .synthetic import DAY, page_now, write_store


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store at whose end the challenger pages."""
    path = tmp_path_factory.mktemp("answers") / "birdwatch.db"
    store = write_store(path)
    page_now(store)
    store.close()
    return path


@pytest.fixture
def path(written, tmp_path):
    copy = tmp_path / "birdwatch.db"
    copy.write_bytes(written.read_bytes())
    return copy


@pytest.fixture
def key(path):
    (alert,) = firing(path)
    return alert.fingerprint


def firing(path):
    store = Store(path, readonly=True)
    found = [alert for alert in read_alerts(store, 0, 2**40) if alert.state == "firing"]
    store.close()
    return found


def silenced(path):
    store = Store(path, readonly=True)
    found = read_silences(store, time.time())
    store.close()
    return found


def test_who_looks_after_an_alert_says_so_on_its_page(path, key, view):
    app = view(path, "alerts", range="week")
    app.text_input(key=f"ack-author-{key}").set_value("ann")
    app.text_input(key=f"ack-note-{key}").set_value("asked the owners")
    app.button(key=f"ack-do-{key}").click().run()
    assert not app.exception
    (alert,) = firing(path)
    assert (alert.acknowledged.author, alert.acknowledged.note) == ("ann", "asked the owners")
    assert "ann looks after it" in app.table[0].value["Alert"].iloc[0]


def test_an_answer_without_a_name_is_refused_with_the_reason(path, key, view):
    app = view(path, "alerts", range="week")
    app.button(key=f"ack-do-{key}").click().run()
    assert "an acknowledgement needs an author" in app.toast[0].value
    assert firing(path)[0].acknowledged is None


def test_an_alert_is_silenced_for_a_while_and_told_again_when_that_is_ended(path, key, view, words):
    app = view(path, "alerts", range="week")
    app.selectbox(key=f"silence-what-{key}").set_value("model=challenger")
    app.selectbox(key=f"silence-length-{key}").set_value("a day")
    app.text_input(key=f"silence-author-{key}").set_value("ann")
    app.text_input(key=f"silence-reason-{key}").set_value("being retrained")
    before = time.time()
    app.button(key=f"silence-do-{key}").click().run()
    assert not app.exception
    (silence,) = silenced(path)
    assert [str(matcher) for matcher in silence.matchers] == ["model=challenger"]
    assert before + DAY <= silence.ends <= time.time() + DAY
    assert "ann: being retrained" in words(app)
    assert firing(path)[0].silenced
    assert "(1 silenced)" in words(app)
    app.button(key=f"unsilence-{silence.id}").click().run()
    assert silenced(path) == []
    assert not firing(path)[0].silenced
    assert "being retrained" not in words(app)


def test_of_the_past_nobody_can_say_anything(path, key, view):
    app = view(path, "alerts", range="custom", **{"from": "2024-03-12T00:00", "to": "2024-03-31T00:00"})
    assert app.expander
    assert f"ack-do-{key}" not in [button.key for button in app.button]
