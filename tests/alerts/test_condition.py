"""One more window: what fires, what resolves, and what comes and goes too often to say so each time."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.alerts.condition import FLAPS, Condition, decide, end


def life(windows, **settings):
    """Give what is known after each window, written as ``1`` where it shows it, ``0`` where it is clean."""
    known, condition = [], Condition()
    for ts, window in enumerate(windows, start=1):
        condition = decide(condition, ts, shown=window in ("1", True), **settings)
        known.append(condition)
    return known


def states(windows, **settings):
    """Write a life in letters: ``.`` inactive, ``p`` pending, ``F`` firing, ``X`` firing and flapping."""
    letters = {"inactive": ".", "pending": "p", "firing": "F"}
    return "".join("X" if c.flapping else letters[c.state] for c in life(windows, **settings))


@pytest.mark.parametrize(
    ("windows", "settings", "shown"),
    [
        ("0110", {}, ".FFF"),
        ("1000", {}, "FFF."),
        ("100100011", {}, "FFFFFF.FF"),
        ("1011", {"for_windows": 2}, "p.pF"),
        ("110", {"for_windows": 2, "keep_firing_for": 1}, "pF."),
        ("10000", {"keep_firing_for": 4}, "FFFF."),
        ("10101", {"keep_firing_for": 1, "flap_windows": 0}, "F.F.F"),
    ],
)
def test_what_a_row_of_windows_comes_to(windows, settings, shown):
    assert states(windows, **settings) == shown


@pytest.mark.parametrize(
    ("windows", "stretch", "shown"),
    [
        # The fourth time within ten windows it flaps, and goes on until ten in a row are clean.
        ("1010101" + "0" * 10, 10, "F.F.F.X" + "X" * 9 + "."),
        # What shows it in between starts that count again.
        ("1010101" + "0" * 9 + "1" + "0" * 10, 10, "F.F.F.X" + "X" * 9 + "X" + "X" * 9 + "."),
        # Four times in ten windows, but no four of them within six.
        ("1010010101", 6, "F.F..F.F.F"),
        # Once it was calm, it is as if it had never been.
        ("1010101" + "0" * 10 + "10", 10, "F.F.F.X" + "X" * 9 + "." + "F."),
    ],
)
def test_what_comes_and_goes_flaps_until_it_was_calm(windows, stretch, shown):
    assert states(windows, keep_firing_for=1, flap_windows=stretch) == shown


def test_a_stretch_shorter_than_the_clean_windows_a_rule_asks_for_ends_nothing_sooner():
    flapping = Condition(state="firing", seen=0, flapping=True)
    assert decide(flapping, 1, shown=False, keep_firing_for=3, flap_windows=1).state == "firing"


def test_what_flaps_is_over_at_once_when_its_subject_is_gone():
    assert end(Condition(state="firing", seen=60, flapping=True, severity="page"), 90) == Condition(
        seen=90, severity="page"
    )


def test_a_window_told_again_changes_nothing():
    (*_, condition) = life("1101")
    for ts in (1, 3, 4):
        assert decide(condition, ts, shown=False) == condition


WINDOWS = st.lists(st.booleans(), max_size=120)
SETTINGS = st.fixed_dictionaries(
    {"for_windows": st.integers(1, 3), "keep_firing_for": st.integers(1, 4), "flap_windows": st.integers(0, 30)}
)


def fires(known):
    """Number the windows at which a life says that it fires."""
    before = ["inactive", *(c.state for c in known)]
    return [i for i, c in enumerate(known) if c.state == "firing" and before[i] != "firing"]


@given(WINDOWS, SETTINGS)
def test_damping_never_loses_a_firing_that_would_be_the_first(windows, settings):
    damped = fires(life(windows, **settings))
    plain = fires(life(windows, **{**settings, "flap_windows": 0}))
    assert damped[: FLAPS + 1] == plain[: FLAPS + 1]
    assert set(damped) <= set(range(len(windows)))
    # Whatever would fire without damping fires with it: then, or already.
    known = life(windows, **settings)
    assert all(known[i].state == "firing" for i in plain)


@given(WINDOWS, SETTINGS)
def test_whatever_fires_resolves_once_it_is_calm(windows, settings):
    calm = max(settings["flap_windows"], settings["keep_firing_for"])
    assert life([*windows, *[False] * calm], **settings)[-1].state == "inactive"


@given(WINDOWS, SETTINGS)
def test_no_stretch_has_more_firings_than_are_said(windows, settings):
    at = fires(life(windows, **settings))
    stretch = settings["flap_windows"]
    assert all(sum(i <= j < i + stretch for j in at) <= FLAPS + 1 for i in at)


@given(WINDOWS, SETTINGS, st.integers(0, 120))
def test_a_restart_in_the_middle_changes_nothing(windows, settings, middle):
    condition = Condition()
    for ts, shown in enumerate(windows, start=1):
        if ts == middle:
            condition = msgspec.json.decode(msgspec.json.encode(condition), type=Condition)
        condition = decide(condition, ts, shown=shown, **settings)
    assert not windows or condition == life(windows, **settings)[-1]
