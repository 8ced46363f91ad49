"""Subjects in words, the same wherever people read of them."""

from birdwatch.detect.verdict import Subject

__all__ = ["about"]


def about(subject: Subject) -> str:
    """Name whom something is about: a version of a model and its partner, a watched input, or the whole fleet.

    Examples
    --------
    >>> about(Subject("challenger", "2", "champion"))
    'challenger 2 against champion'
    >>> about(Subject(feature="visib"))
    'the input visib'
    >>> about(Subject())
    'the fleet'
    """
    named = f"the input {subject.feature}" if subject.feature else f"{subject.model} {subject.version}".strip()
    against = f"against {subject.partner}" if subject.partner else ""
    return f"{named} {against}".strip() or "the fleet"
