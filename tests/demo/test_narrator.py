"""What happens is told in plain words."""

import io

from rich.console import Console

from birdwatch.demo.flights import start_of
from birdwatch.demo.narrator import Narrator
from birdwatch.records import Alert, Control


def told(tell):
    console = Console(file=io.StringIO(), width=200)
    times = iter(range(0, 1000, 10))
    tell(Narrator(console, clock=lambda: next(times)))
    return console.file.getvalue()


def alert(**other):
    usual = {
        "fingerprint": "ab12",
        "ts": start_of("2013-05-15"),
        "started": 0,
        "state": "firing",
        "rule": "disagreement",
    }
    about = {"severity": "page", "attribution": "the model changed", "model": "challenger", "version": "2"}
    return Alert(**{**usual, **about, "reason": "41 % of its differences exceed the usual", **other})


def test_a_page_names_its_cause_and_the_version():
    text = told(lambda tell: tell.alert(alert()))
    assert "2013-05-15 08:00Z  page: the model changed: challenger 2 (disagreement): 41 % of its" in text


def test_an_alert_that_is_over_says_so():
    text = told(lambda tell: tell.alert(alert(state="resolved", reason="the version was rolled back")))
    assert "page over: challenger 2 (disagreement): the version was rolled back" in text


def test_an_alert_about_nobody_is_about_all():
    text = told(lambda tell: tell.alert(alert(model="", version="", attribution="", severity="ticket")))
    assert "ticket: all models (disagreement)" in text


def test_a_change_names_who_and_why():
    change = Control(
        ts=start_of("2013-05-14"), action="rollback", author="ops", reason="[bold] claims", model="m", version="2"
    )
    assert "2013-05-14 08:00Z  ops: roll back m 2: [bold] claims" in told(lambda tell: tell.control(change))


def test_a_step_says_how_long_it_took():
    def tell(narrator):
        with narrator.step("counting sheep"):
            pass

    assert "counting sheep: 20.0 s" in told(tell)


def test_in_a_pipe_there_is_no_progress_bar():
    def tell(narrator):
        with narrator.flight(0.0, 100.0):
            narrator.moved(50.0)

    assert told(tell) == ""
