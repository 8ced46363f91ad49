"""Two files give one answer however they are laid out: read by columns, row by row, sorted or not, with whatever is in them."""

import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from birdwatch import records
from birdwatch.check.gate import count_two
from birdwatch.check.order import patient
from birdwatch.check.report import as_data
from birdwatch.check.shadow import check_shadow
from birdwatch.config import Mapping, Settings
from birdwatch.content import content
from birdwatch.detect.rules import load_rules
from birdwatch.streams import open_streams

BEGIN = 1_700_000_000.0
RULES = load_rules(content("detectors"))
SETTINGS = Settings(mappings={"scores": Mapping(fields={"error": "error"})})
SCHEMA = pa.schema({"request_id": pa.string(), "request_ts": pa.float64(), "score": pa.float64(), "error": pa.string()})


@st.composite
def rows(draw):
    """Draw the scores of one model: some requests twice, some missing, late, failed, or at a time that cannot be."""
    found = []
    for n in draw(st.lists(st.integers(0, 60), max_size=80)):
        late = draw(st.sampled_from([0.0, 0.0, 0.0, 30.0, 4_000.0, -1e9]))
        score = draw(st.sampled_from([None, 0.25, 0.5, 0.5000001]) | st.floats(0.0, 1.0))
        error = "it died" if score is None and draw(st.booleans()) else None
        found.append({"request_id": f"réq-{n}", "request_ts": BEGIN + 7.0 * n + late, "score": score, "error": error})
    return found


def answered(folder, settings=SETTINGS, suffix=".parquet"):
    with tempfile.TemporaryDirectory() as place:
        letters = open_streams(f"sqlite:{place}/letters")
        champion, shadow = (Path(folder, role + suffix) for role in ("champion", "shadow"))
        store, unread = count_two(champion, shadow, settings, Path(place, "counted.db"), letters)
        with closing(store):
            panes = [(start, s, c.bins.tolist(), c.counts.tolist()) for start, s, c in store.rows(0, 2**40)]
            found = check_shadow(store, "champion", "shadow", RULES, settings)
            return as_data(found), sorted(panes), unread, store.arrivals(0, 2**40)


@settings(max_examples=40, deadline=None)
@given(rows(), rows(), st.integers(1, 50))
def test_by_columns_and_row_by_row_are_the_same_to_the_last_bit(champion, shadow, group):
    with tempfile.TemporaryDirectory() as folder:
        for role, scores in (("champion", champion), ("shadow", shadow)):
            lines = b"".join(records.encode(row) + b"\n" for row in scores)
            Path(folder, f"{role}.jsonl").write_bytes(lines)
            pq.write_table(pa.Table.from_pylist(scores, SCHEMA), Path(folder, f"{role}.parquet"), row_group_size=group)
        assert answered(folder) == answered(folder, suffix=".jsonl")


def written(folder, n, days, order=None):
    """Write scores of the same requests for both models, in order of time or in another."""
    rng = np.random.default_rng(7)
    scores = rng.uniform(size=n)
    for role in ("champion", "shadow"):
        table = pa.table(
            {
                "request_id": [f"r{i}" for i in range(n)],
                "request_ts": BEGIN + np.arange(n) * (days * 86_400 / n),
                "score": np.clip(scores + 0.01 * rng.normal(size=n), 0, 1),
            }
        )
        pq.write_table(table if order is None else table.take(order), folder / f"{role}.parquet")


def test_a_check_of_two_files_never_loads_the_slow_libraries(tmp_path):
    written(tmp_path, 500, 0.01)
    code = (
        "import sys, atexit; from birdwatch.cli import main;"
        f"sys.argv = ['birdwatch', 'check', '--champion', {str(tmp_path / 'champion.parquet')!r},"
        f" '--shadow', {str(tmp_path / 'shadow.parquet')!r}];"
        "atexit.register(lambda: print(sorted({'pandas', 'scipy.stats', 'statsmodels'} & set(sys.modules)))); main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "PASS" in found.stdout
    assert found.stdout.endswith("[]\n")


@pytest.mark.parametrize("how", ["backwards", "shuffled"])
def test_the_order_of_the_rows_changes_nothing(tmp_path, monkeypatch, how):
    monkeypatch.setattr("birdwatch.check.gate._AT_ONCE", 1_000)
    order = np.arange(6_000)[::-1] if how == "backwards" else np.random.default_rng(8).permutation(6_000)
    (tmp_path / "sorted").mkdir()
    (tmp_path / how).mkdir()
    written(tmp_path / "sorted", 6_000, 0.3)
    written(tmp_path / how, 6_000, 0.3, order)
    plain = answered(tmp_path / "sorted", Settings())
    assert plain[0]["verdict"] == "pass"
    assert answered(tmp_path / how, Settings()) == plain


def test_csv_files_in_another_order_meet_too(tmp_path, monkeypatch):
    monkeypatch.setattr("birdwatch.check.gate._AT_ONCE", 1_000)
    written(tmp_path, 4_000, 0.3, np.random.default_rng(9).permutation(4_000))
    for role in ("champion", "shadow"):
        csv.write_csv(pq.read_table(tmp_path / f"{role}.parquet"), tmp_path / f"{role}.csv")
    found, _, unread, arrivals = answered(tmp_path, Settings(), ".csv")
    assert (found["verdict"], unread, arrivals) == ("pass", 0, {})


@pytest.mark.parametrize("wild", [1.2e9, 1.7e12, None, float("nan")])
def test_a_wild_time_neither_holds_the_others_in_memory_nor_hides_that_they_are_out_of_order(tmp_path, wild):
    written(tmp_path, 1_000, 0.01)
    path = tmp_path / "shadow.parquet"
    row = pa.table({"request_id": ["x"], "request_ts": pa.array([wild], pa.float64()), "score": [0.5]})
    whole = pq.read_table(path)
    for late, parts in ((0.0, (whole, row)), (999 * 0.864, (row, whole.slice(500), whole.slice(0, 500), row))):
        pq.write_table(pa.concat_tables(parts), path)
        found = patient(Settings(lateness_seconds=0), "scores", path).lateness_seconds
        assert found == pytest.approx(late, abs=1e-3)
