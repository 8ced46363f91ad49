"""A run's folder is its own: nobody else's files are removed, and no two runs share one."""

from contextlib import closing

import pytest

from birdwatch.demo.place import claim, require_unused
from birdwatch.errors import BirdwatchError
from birdwatch.streams import open_streams


def test_a_second_run_starts_clean(tmp_path):
    folder = tmp_path / "run"
    with claim(folder):
        (folder / "streams").mkdir()
        (folder / "streams" / "requests.db").write_text("old")
        (folder / "birdwatch.db").write_text("old")
    with claim(folder):
        assert [path.name for path in folder.iterdir()] == [".birdwatch-demo"]


def test_files_that_no_demo_has_made_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with (
        pytest.raises(BirdwatchError, match="holds files that no demo has made: give another --run-dir"),
        claim(tmp_path),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_a_link_points_to_is_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("mine")
    folder = tmp_path / "run"
    with claim(folder):
        (folder / "link").symlink_to(elsewhere)
    with claim(folder):
        assert (elsewhere / "thesis.txt").read_text() == "mine"
        assert not (folder / "link").exists()


def test_two_demos_do_not_share_a_folder(tmp_path):
    with claim(tmp_path / "run"):
        (tmp_path / "run" / "birdwatch.db").write_text("in use")
        with pytest.raises(BirdwatchError, match="another demo runs in"), claim(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / "birdwatch.db").exists()


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(BirdwatchError, match="run is a file"), claim(tmp_path / "run"):
        pass


def test_streams_that_are_somebodys_are_refused_and_stay_as_they_are(tmp_path):
    address = f"sqlite:{tmp_path / 'streams'}"
    require_unused(address)
    with closing(open_streams(address)) as streams:
        streams.append("scores", [(b"", b"{}")])
        streams.append("flights", [(b"", b"{}")])
        with pytest.raises(BirdwatchError, match="has scores already, and a demo mixes with nobody's streams"):
            require_unused(address)
        assert streams.names() == ["flights", "scores"]


def test_streams_that_a_demo_does_not_use_do_not_disturb_it(tmp_path):
    address = f"sqlite:{tmp_path / 'streams'}"
    with closing(open_streams(address)) as streams:
        streams.append("flights", [(b"", b"{}")])
    require_unused(address)
