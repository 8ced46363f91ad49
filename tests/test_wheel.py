"""The wheel holds birdwatch and nothing else; what it asks for can be had anywhere."""

import subprocess
import tomllib
import zipfile
from email import message_from_bytes

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from birdwatch.content import FOLDERS


@pytest.fixture(scope="module")
def archive(wheel):
    with zipfile.ZipFile(wheel) as opened:
        yield opened


def tracked(root, folder):
    """Give the files of a folder that are under version control, or else all of them."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=root, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    return set(names) or {str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()}


def test_nothing_but_birdwatch_is_installed(archive):
    assert {name.split("/")[0].split("-")[0] for name in archive.namelist()} == {"birdwatch"}
    assert not [name for name in archive.namelist() if "__pycache__" in name or name.endswith(".pyc")]


def test_every_module_is_in_it(archive, root):
    names = set(archive.namelist())
    assert {name.removeprefix("src/") for name in tracked(root, "src")} <= names
    assert "birdwatch/py.typed" in names


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_content_travels_as_data(archive, root, folder):
    inside = f"birdwatch/_content/{folder}/"
    assert {inside.removesuffix(f"{folder}/") + name for name in tracked(root, folder)} <= set(archive.namelist())
    assert not [name for name in archive.namelist() if name.startswith(inside) and name.endswith("__init__.py")]


def test_its_requirements_name_no_place_to_fetch_them_from(archive):
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    requirements = [Requirement(line) for line in message_from_bytes(archive.read(metadata)).get_all("Requires-Dist")]
    assert requirements
    assert [r.name for r in requirements if r.url] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-demo.lock"])
def test_the_lock_files_name_no_place_to_fetch_from(root, lock):
    assert [line for line in (root / lock).read_text().splitlines() if "://" in line or line.startswith("-")] == []


@pytest.mark.parametrize(
    ("lock", "groups"), [("requirements.lock", ["*", "dev"]), ("requirements-demo.lock", ["demo"])]
)
def test_the_lock_files_keep_to_what_is_asked_for(root, lock, groups):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [Requirement(line) for line in project["project"]["dependencies"]]
    for group in extras if groups[0] == "*" else groups:
        asked += [Requirement(line) for line in extras[group]]
    for group in set(groups) & set(project["dependency-groups"]):
        asked += [Requirement(line) for line in project["dependency-groups"][group]]
    locked = {}
    for line in (root / lock).read_text().splitlines():
        if line and not line.lstrip().startswith("#"):
            name, _, rest = line.partition("==")
            locked.setdefault(canonicalize_name(name), []).append(rest.split(";")[0].strip())
    for wanted in asked:
        if wanted.name != "birdwatch":  # its own extras are asked for by their parts
            versions = locked.get(canonicalize_name(wanted.name), [])
            assert versions, f"{wanted.name} is not locked: make lock"
            assert all(wanted.specifier.contains(version, prereleases=True) for version in versions), wanted
