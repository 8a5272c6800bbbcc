"""The tables of specs/faults.md name a test for each fault, and the tests are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLES = HERE.parents[1] / "specs" / "faults.md"


def rows() -> list[list[str]]:
    """Return the cells of each row of the tables whose last column is `test`."""
    found: list[list[str]] = []
    header: list[str] = []
    for line in TABLES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if header and header[-1] == "test" and cells and set(cells[0]) != {"-", " "}:
            found.append(cells)
        if not cells or not header:
            header = cells
    return [row for row in found if set(row[0]) != {"-"}]


def test_every_fault_has_a_test() -> None:
    tests = {
        name
        for module in HERE.glob("test_*.py")
        for name in re.findall(r"^(?:async )?def test_(\w+)", module.read_text(), re.MULTILINE)
    }
    named = {row[0]: re.findall(r"`(\w+)`", row[-1]) for row in rows()}

    assert len(named) > 30
    assert [fault for fault, names in named.items() if not names] == []
    assert {name for names in named.values() for name in names} <= tests


def test_every_row_is_whole() -> None:
    assert [row for row in rows() if len(row) != 5] == []
