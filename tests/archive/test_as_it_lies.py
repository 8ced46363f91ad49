"""Other tools read an archive as it lies."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.verify import put_aside
from birdwatch.records import encode
from birdwatch.testing import FakeClock, MemoryStreams, a_score

JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    clock = FakeClock()
    streams = MemoryStreams(clock=clock, sleep=clock.sleep)
    scores = [a_score(request_id=f"r{n}", ts=JUNE + 3600.0 * n, score=n / 64) for n in range(48)]
    streams.append("scores", [(b"", encode(score)) for score in scores])
    folder = tmp_path_factory.mktemp("archive")
    archiver = Archiver(streams, ["scores"], folder)
    archiver.run_once(lambda: False)
    archiver.close()
    [path] = (folder / "scores" / "dt=2013-06-07").glob("*.parquet")
    path.with_name(".draft-of-a-killed-writer").write_bytes(b"half a file")
    path.with_name("broken+0+000000000900+000000000901.parquet").write_bytes(b"half a file")
    put_aside(path.with_name("broken+0+000000000900+000000000901.parquet"))
    return folder


def test_pandas(folder):
    frame = pd.read_parquet(folder / "scores", filters=[("dt", "=", "2013-06-08")])
    assert frame["id"].tolist() == [f"r{n}" for n in range(24, 48)]
    assert frame["value"].map(lambda value: b'"score"' in value).all()


def test_duckdb(folder):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        f"""SELECT CAST(dt AS VARCHAR), count(*), sum(CAST(json_extract(decode(value), '$.score') AS DOUBLE))
            FROM read_parquet('{folder}/scores/*/*.parquet', hive_partitioning = true) GROUP BY 1 ORDER BY 1"""  # noqa: S608
    ).fetchall()
    assert found == [("2013-06-07", 24, sum(range(24)) / 64), ("2013-06-08", 24, sum(range(24, 48)) / 64)]


def test_polars(folder):
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(f"{folder}/scores/*/*.parquet", hive_partitioning=True).sort("offset").collect()
    assert frame["id"].to_list() == [f"r{n}" for n in range(48)]
    assert [str(day) for day in frame["dt"].unique().sort()] == ["2013-06-07", "2013-06-08"]


# In a process of its own: Java lives as long as it does, and its warnings of pandas 3 are no mistakes of ours.
SPARK = """
import json, sys
from pyspark.sql import SparkSession
one_core = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
session = one_core.config("spark.sql.shuffle.partitions", "1").config("spark.driver.host", "localhost").getOrCreate()
found = session.read.parquet(sys.argv[1])
shown = found.selectExpr("id", "ts", "partition", "offset", "hex(key)", "decode(value, 'UTF-8')", "CAST(dt AS STRING)")
score = "sum(CAST(get_json_object(decode(value, 'UTF-8'), '$.score') AS DOUBLE)) AS score"
by_day = found.groupBy("dt").agg({"offset": "count"}).count()
total = found.where("dt = DATE'2013-06-08'").selectExpr(score).first()["score"]
print(json.dumps([found.dtypes, [list(row) for row in shown.orderBy("offset").collect()], by_day, total]))
session.stop()
"""


@pytest.mark.integration
def test_spark(folder):
    pytest.importorskip("pyspark", reason="pip install 'birdwatch[spark]'")
    polars = pytest.importorskip("polars")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17")
    command = [sys.executable, "-c", SPARK, str(folder / "scores")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    types, rows, days, total = json.loads(done.stdout.splitlines()[-1])
    assert [tuple(each) for each in types] == [
        ("id", "string"),
        ("ts", "double"),
        ("partition", "int"),
        ("offset", "bigint"),
        ("key", "binary"),
        ("value", "binary"),
        ("dt", "date"),
    ]
    frame = polars.scan_parquet(f"{folder}/scores/*/*.parquet", hive_partitioning=True).sort("offset").collect()
    same = [[*row[:4], row[4].hex(), row[5].decode(), str(row[6])] for row in frame.rows()]
    assert rows == same
    assert (days, total) == (2, sum(range(24, 48)) / 64)
