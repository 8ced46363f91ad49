"""The command line: one file a command group."""

from birdwatch.cli.main import main

__all__ = ["main"]
