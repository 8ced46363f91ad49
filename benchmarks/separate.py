"""Runs what is measured in a process of its own."""

import json
import subprocess
import sys
from typing import Any

__all__ = ["run"]


def run(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module; give the figures that it prints as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found
