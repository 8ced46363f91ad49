"""What `birdwatch.spark` says before it does anything."""

import base64
import pickle
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from birdwatch.config import Mapping, Settings
from birdwatch.errors import SettingsError, StoreError
from birdwatch.windows.pane import Series

pytest.importorskip("pyspark", reason="pip install 'birdwatch[spark]'")
from pyspark.sql import Row

import birdwatch.spark

SCORES = SimpleNamespace(columns=["id", "ts", "partition", "offset", "key", "value", "dt"])


def test_without_messages_nothing_is_counted():
    with pytest.raises(ValueError, match="no messages: give a DataFrame by stream"):
        birdwatch.spark.panes({})


def test_a_stream_that_is_not_counted_is_refused():
    with pytest.raises(ValueError, match=r"'alerts' is not counted: leave it out, .* requests, scores, metrics"):
        birdwatch.spark.panes({"alerts": SCORES})


def test_a_stream_is_known_by_its_topic():
    with pytest.raises(ValueError, match=r"'scores' is not counted.* predictions"):
        birdwatch.spark.panes({"scores": SCORES}, Settings(mappings={"scores": Mapping(topic="predictions")}))


def test_a_table_of_something_else_is_refused():
    with pytest.raises(ValueError, match="the DataFrame of 'scores' lacks key, offset"):
        birdwatch.spark.panes({"scores": SimpleNamespace(columns=["partition", "value"])})


def test_a_pane_has_a_part():
    with pytest.raises(ValueError, match="at least one part, not 0"):
        birdwatch.spark.panes({"scores": SCORES}, parts=0)


def test_a_mapping_that_cannot_be_used_is_found_before_anything_is_read():
    with pytest.raises(SettingsError, match="no such stream"):
        birdwatch.spark.panes({"scores": SCORES}, Settings(mappings={"scroes": Mapping()}))


def test_no_secret_travels_to_other_machines(monkeypatch):
    monkeypatch.setattr(sys.modules["birdwatch.spark.panes"].sql, "lit", str)  # Spark's own needs Java
    secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    settings = Settings(
        streams=f"kafka://broker:9092?sasl.password={secret}",
        webhook=f"https://receiver/{secret}",
        webhook_secret=secret,
        sinks={"other": {"kind": "webhook", "url": "https://other", "secret": secret}},
        champion="the champion",
    )
    scores = MagicMock(columns=SCORES.columns)
    birdwatch.spark.panes({"scores": scores}, settings)
    sent = pickle.dumps(scores.withColumn.return_value.to.return_value.mapInArrow.call_args.args[0])
    assert b"the champion" in sent
    assert secret.encode() not in sent


def test_a_store_of_which_a_part_was_not_counted_holds_nothing(tmp_path):
    def rows():
        series = Row(measure="counts", model="", version="", partner="", segment="", bins=[1], counts=[7])
        yield Row(start=60, series=[series], extremes=[], duplicates={}, unreadable=[])
        if failing:
            raise RuntimeError("a machine was lost")

    whole = MagicMock()
    whole.toLocalIterator = rows
    panes = birdwatch.spark.Panes(Settings(), {}, MagicMock(), whole)
    failing = True
    with pytest.raises(RuntimeError, match="a machine was lost"):
        panes.store(tmp_path / "panes.db")
    failing = False
    assert list(panes.store(tmp_path / "panes.db").digest()) == [(60, Series("counts"))]
    with pytest.raises(StoreError, match="holds panes already: name a new file"):
        panes.store(tmp_path / "panes.db")


def test_without_pyspark_it_says_what_to_install():
    code = "import sys; sys.modules['pyspark'] = None; import birdwatch.spark"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith(
        "ImportError: birdwatch.spark needs PySpark, and that needs Java: pip install 'birdwatch[spark]'\n"
    )


def test_nothing_else_of_birdwatch_imports_it():
    code = "import sys, birdwatch, birdwatch.windows.archived, birdwatch.cli.main; print('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
