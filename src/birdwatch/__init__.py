"""Birdwatch serves machine-learning models by rendezvous, and watches them while they serve."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("birdwatch")
