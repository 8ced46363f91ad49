"""A report as JSON, for programs."""

import msgspec

from birdwatch.check.report import Report, as_data

__all__ = ["json_text"]


def json_text(report: Report) -> str:
    """Write a report as JSON, all of it."""
    return msgspec.json.encode(as_data(report)).decode()
