"""Panes counted by Spark: of archives that are larger than a machine, and of stretches of Kafka.

The panes are those of one machine, bit for bit: the same code reads and counts, each machine its part of the requests.
"""

try:
    import pyspark as _pyspark
except ImportError as missing:
    raise ImportError("birdwatch.spark needs PySpark, and that needs Java: pip install 'birdwatch[spark]'") from missing

from birdwatch.spark.panes import Panes, panes

__all__ = ["Panes", "panes"]

del _pyspark
