"""Streams kept as Parquet."""
