"""The table says what was seen, and nothing better."""

import pytest

from .table import BEGIN, END, Table, machine


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "reliability.md"
    path.write_text(f"before\n{BEGIN}\nnothing yet\n{END}\nafter\n")
    return path


def table(*faults, **seen):
    made = Table()
    for fault in faults:
        made.survived(fault, **{"rounds": 3, "ids": 1200, "alive": [1.0, 4.0, 2.0], **seen})
    return made


def rows(page):
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_row_has_the_median_and_the_worst_time(page):
    table("kill -9", note="a | b").keep(page)
    assert rows(page)[0][:8] == ["kill -9", "3", "1,200", "0", "0", "2.0 s", "4.0 s", "a / b"]
    assert page.read_text().startswith(f"before\n{BEGIN}\n")
    assert page.read_text().endswith(f"{END}\nafter\n")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"lost": ["r7"]}, "1 of 1200 were lost"),
        ({"doubled": ["r7", "r8"]}, "2 of 1200 were doubled"),
        ({"alive": [1.0, 31.0]}, "alive again too late"),
        ({"ids": 0}, "no id was looked for"),
    ],
)
def test_a_row_that_is_bad_is_written_and_fails(seen, says):
    made = Table()
    with pytest.raises(AssertionError, match=says):
        made.survived("kill -9", **{"rounds": 1, "ids": 1200, **seen})
    assert "kill -9" in made.text()


def test_what_was_not_measured_again_stays(page):
    table("kill -9", "broker gone").keep(page)
    table("broker gone", "storm", alive=[9.0]).keep(page)
    assert [(row[0], row[6]) for row in rows(page)] == [
        ("kill -9", "4.0 s"),
        ("broker gone", "9.0 s"),
        ("storm", "9.0 s"),
    ]


def test_what_another_machine_measured_does_not_stay(page):
    table("kill -9").keep(page)
    page.write_text(page.read_text().replace(machine(), "96 cores"))
    table("storm").keep(page)
    assert [row[0] for row in rows(page)] == ["storm"]
