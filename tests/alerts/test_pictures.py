"""Pictures are drawn by a process beside; whatever becomes of it, alerts go on."""

import itertools
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from birdwatch.alerts.outbox import create_tables, put
from birdwatch.alerts.pictures import Pictures
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.testing import an_alert
from birdwatch.windows.store import Store

URL = "https://watch.test/shown/"


@pytest.fixture
def draw(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import drawing

    return drawing.draw


@pytest.fixture
def path(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    create_tables(store)
    store.close()
    return tmp_path / "birdwatch.db"


@pytest.fixture
def pictures(path, draw):
    made = Pictures(path, draw, url=URL, patience_seconds=120)
    yield made
    made.close()


NUMBERS = itertools.count(1)


def alert(reason="draw", **fields):
    return an_alert(reason=reason, fingerprint=f"{next(NUMBERS):016x}", **fields)


def counted(pictures):
    registry = CollectorRegistry()
    registry.register(pictures)
    name = "birdwatch_alerts_pictures_total"
    return {result: registry.get_sample_value(name, {"result": result}) for result in ("drawn", "nothing", "failed")}


def test_an_alert_is_drawn_once_by_a_process_beside_which_outlives_what_cannot_be_drawn(pictures, caplog):
    fires = alert()
    png = pictures.png(fires)
    drawer = png.split()[4]
    assert png == b"picture of %s by %s in birdwatch.db" % (fires.fingerprint.encode(), drawer)
    assert pictures.png(fires) == png
    assert pictures.png(alert("nothing")) is None
    assert counted(pictures) == {"drawn": 1, "nothing": 1, "failed": 0}
    failing = alert("raise")
    assert pictures.png(failing) is None
    assert f"{failing.fingerprint}-{failing.ts:.0f} goes without a picture: ValueError: no such axis" in caplog.text
    assert pictures.png(alert()).split()[4] == drawer
    assert pictures.png(alert("die")) is None
    assert "goes without a picture: what draws has ended: EOFError" in caplog.text
    assert pictures.png(alert()).split()[4] != drawer
    assert counted(pictures) == {"drawn": 3, "nothing": 1, "failed": 2}


def test_what_takes_too_long_is_ended_and_holds_up_nobody_for_a_while(path, draw, caplog):
    pictures = Pictures(path, draw, patience_seconds=0.01)
    assert pictures.png(alert("hang")) is None
    assert "it took longer than 0.01 s" in caplog.text
    assert pictures._worker is None
    assert pictures.png(alert()) is None
    assert "one before it took too long" in caplog.text
    assert pictures._worker is None  # nothing was even tried
    assert counted(pictures)["failed"] == 2
    pictures.close()


def test_what_is_over_and_what_says_that_all_works_have_no_picture(pictures):
    for without in (alert(state="resolved"), an_alert(fingerprint=WATCHDOG_FINGERPRINT)):
        assert pictures.png(without) is None
        assert pictures.address(without) == ""
    assert counted(pictures) == {"drawn": 0, "nothing": 0, "failed": 0}


def test_an_address_leads_to_the_picture_and_stays_the_same(path, pictures, draw):
    fires = alert(ts=120.0)
    store = Store(path)
    put(store, fires)
    store.close()
    address = pictures.address(fires)
    assert address.startswith(f"https://watch.test/shown/pictures/{fires.fingerprint}-120-")
    name = address.rsplit("/", 1)[1]
    assert pictures.named(name).startswith(b"picture of " + fires.fingerprint.encode())
    assert Pictures(path, draw, url=URL).address(fires) == address  # whoever serves it after a restart
    assert Pictures(path, draw).address(fires) == ""


def test_nobody_can_guess_an_address_or_leave_the_folder(path, pictures, caplog):
    fires, unknown = alert(ts=120.0), alert(ts=60.0)
    store = Store(path)
    put(store, fires)
    store.close()
    name = pictures.address(fires).rsplit("/", 1)[1]
    other = name[:-5] + ("0" if name[-5] != "0" else "1") + name[-4:]
    guesses = [other, name.replace("-120-", "-60-"), name.removesuffix(".png"), f"../{name}", "../../etc/passwd", ""]
    guesses += [name.upper(), f"{name}?x", name + "\n", pictures.address(unknown).rsplit("/", 1)[1]]
    assert [pictures.named(guess) for guess in guesses] == [None] * len(guesses)
    assert pictures._worker is None  # nobody is made to draw by guessing


def test_a_store_that_cannot_be_read_costs_the_address_alone(tmp_path, draw, caplog):
    caplog.set_level(logging.WARNING)
    pictures = Pictures(tmp_path / "nowhere.db", draw, url=URL)
    fires = alert()
    assert pictures.address(fires) == ""
    assert f"{fires.fingerprint} goes without the address of its picture" in caplog.text
    assert pictures.named(f"{fires.fingerprint}-60-{'0' * 32}.png") is None
