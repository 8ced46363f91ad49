"""The content folders are found in a checkout and in an installed package."""

import pytest

from birdwatch import content as module
from birdwatch.content import FOLDERS, content
from birdwatch.errors import SettingsError


@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkout_has_them_at_its_root(root, name):
    assert content(name) == root / name


def test_an_installed_package_has_them_inside(monkeypatch, tmp_path):
    inside = tmp_path / "site-packages" / "birdwatch" / "_content" / "detectors"
    inside.mkdir(parents=True)
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "site-packages" / "birdwatch")
    assert content("detectors") == inside


def test_one_that_is_nowhere_is_an_error_that_names_both_places(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "site-packages" / "birdwatch")
    with pytest.raises(SettingsError, match=r"_content/analysis nor at .*install birdwatch again"):
        content("analysis")


def test_another_name_is_refused():
    with pytest.raises(ValueError, match=r"'\.\./secrets' is no content folder"):
        content("../secrets")
