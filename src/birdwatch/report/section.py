"""A section of a report: a question, how much it rests on, an answer in words, pictures and tables; or why it has none."""

from typing import NamedTuple

import pandas as pd

from birdwatch.charts.marks import Drawing

__all__ = ["Figure", "Section", "Table"]


class Figure(NamedTuple):
    """A picture under a heading."""

    title: str
    drawing: Drawing


class Table(NamedTuple):
    """A table under a heading; ``note`` says what its columns are."""

    title: str
    table: pd.DataFrame
    note: str = ""


class Section(NamedTuple):
    """An answered question.

    Attributes
    ----------
    name, question
        A word for programs, and the heading.
    answer
        Sentences; the first stands in the summary.
    data
        What it rests on: how many of what.
    absent
        Why the question does not apply here; empty where it does. There is nothing else then.
    """

    name: str
    question: str
    answer: tuple[str, ...] = ()
    data: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    absent: str = ""
