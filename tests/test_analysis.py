"""Every notebook runs from its first cell to its last, and says what it said when it was kept."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "analysis").glob("*.ipynb"))


def said(notebook):
    """Give what each cell printed, and what it showed as text; of pictures, that there was one."""
    found = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        # What is printed comes in as many parts as the moment made of it.
        printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
        shown = [
            data.get("text/markdown", data["text/plain"])
            for output in outputs
            if (data := output.get("data")) is not None
        ]
        found.append((cell["id"], printed, shown))
    return found


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_says_the_same_each_time(tmp_path, name):
    for folder in ("analysis", "sample_streams"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    kept = nbformat.read(ROOT / "analysis" / name, as_version=4)
    fresh = nbformat.read(tmp_path / "analysis" / name, as_version=4)
    for cell in fresh.cells:
        cell.pop("outputs", None)
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    client = NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "analysis")}}
    )
    client.execute()
    assert said(fresh) == said(kept), f"keep what it says now: jupyter execute --inplace analysis/{name}"
    # It only reads: the recorded streams are as they were.
    for path in (tmp_path / "sample_streams").rglob("*"):
        assert (ROOT / "sample_streams" / path.relative_to(tmp_path / "sample_streams")).exists()
