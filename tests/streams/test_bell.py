from types import SimpleNamespace

import pytest

from birdwatch.streams import bell as module
from birdwatch.streams.bell import Bell, ring

LONG = 60.0


@pytest.fixture
def path(tmp_path):
    there = tmp_path / "requests.db"
    there.touch()
    return there


@pytest.fixture
def hung():
    """Hang bells that already listen to their files, and take them down in the end."""
    bells = []

    def hang(*paths):
        bells.append(Bell(paths))
        if not bells[-1].hears:
            pytest.skip("this system has no inotify, or none left")
        while bells[-1].wait(0):
            pass
        return bells[-1]

    yield hang
    for bell in bells:
        bell.close()


def test_a_ring_ends_the_wait_also_when_it_came_before(path, hung):
    bell = hung(path)
    ring(path)
    assert bell.wait(LONG)


def test_without_a_ring_the_wait_ends_with_the_time(path, hung):
    assert not hung(path).wait(0)


def test_rings_before_a_wait_end_only_that_one(path, hung):
    bell = hung(path)
    for _ in range(5):
        ring(path)
    assert bell.wait(LONG)
    assert not bell.wait(0)


def test_a_ring_is_heard_by_all_who_wait_for_the_file_and_by_no_others(path, tmp_path, hung):
    other = tmp_path / "scores.db"
    other.touch()
    one, two, three = hung(path), hung(other, path), hung(other)
    ring(path)
    assert one.wait(LONG)
    assert two.wait(LONG)
    assert not three.wait(0)


def test_a_file_that_appears_counts_as_a_ring_since_it_may_have_been_written_to_before_it_was_heard(tmp_path, hung):
    bell = hung(tmp_path / "requests.db")
    assert not bell.wait(0)
    (tmp_path / "requests.db").touch()
    assert bell.wait(LONG)
    assert not bell.wait(0)
    ring(tmp_path / "requests.db")
    assert bell.wait(LONG)


def test_to_ring_for_a_file_that_is_gone_does_no_harm(tmp_path):
    ring(tmp_path / "gone.db")
    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize("libc", [SimpleNamespace(), SimpleNamespace(inotify_init1=lambda _: -1)])
def test_where_the_kernel_has_no_inotify_or_none_left_nothing_is_heard(monkeypatch, path, libc):
    monkeypatch.setattr(module, "_libc", libc)
    bell = Bell([path])
    assert not bell.hears
    bell.close()


def test_a_closed_bell_hears_nothing(path):
    bell = Bell([path])
    bell.close()
    assert not bell.hears
