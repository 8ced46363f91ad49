"""What a check comes to, written for whoever reads it: people, CI services, programs; one format a file."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from birdwatch.check.formats import github, html, junit, markdown
from birdwatch.check.formats.data import json_text
from birdwatch.check.report import Report

__all__ = ["FORMATS"]

FORMATS: Final[Mapping[str, Callable[[Report], str]]] = MappingProxyType(
    {
        "md": markdown.write,
        "html": html.write,
        "junit": junit.write,
        "json": json_text,
        "github": github.write,
    }
)
"""By name: from a report to its text."""
