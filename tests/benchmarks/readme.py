"""The README's table of the latest measurement, written from its document and never by hand."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .findings import Finding, from_json
from .machine import ROOT

LATEST = Path(__file__).with_name("latest.json")
README = ROOT / "README.md"
BEGIN = (
    "<!-- written by `python -m tests.benchmarks --readme` from tests/benchmarks/latest.json -->"
)
END = "<!-- the end of it -->"
HEADER = ("", "by hand", "ntrader", "times", "aim", "growth", "MLflow")
SHOWN = (
    "get one by id",
    "list 20 newest",
    "filter by strategy, order by Sharpe",
    "filter by a parameter, order by Sharpe",
    "rare symbol, order by Sortino",
    "Sharpe above 3, order by the lowest return",
    "page 400 deep, by cursor",
    "compare 10 runs",
    "group by strategy",
    "save one run",
    "bulk, runs/s",
    "bytes on disk per run, indexes included",
    "--help",
    "history",
    "100,000 bars, fill at next-open",
)

_TABLE = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)


def table(document: Mapping[str, Any]) -> str:
    """Return the date, the machine and the chosen lines, as Markdown."""
    lines = {line.question: line for line in from_json(document)}
    shown = [lines[question] for question in SHOWN if question in lines]
    return "\n\n".join([_heading(document), _markdown(shown)])


def _heading(document: Mapping[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    sizes = sorted(store["runs"] for store in document["details"]["stores"])
    return (
        f"{document['at'][:10]}, {sizes[-1]:,} runs in the store (growth: from {sizes[0]:,}),"
        f" {machine['cores']} cores ({machine['cpu']}) under a load of {machine['load_before']:g}"
        f" to {machine['load_after']:g}, Python {versions['python']},"
        f" PostgreSQL {versions['postgresql']}:"
    )


def _markdown(lines: Sequence[Finding]) -> str:
    rows: list[Sequence[str]] = [HEADER, ["---"] * len(HEADER)]
    for line in lines:
        name, floor, ours, ratio, aim, _met, growth, peer = line.cells
        rows.append((_named(name), floor, ours, ratio, aim, growth, peer))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _named(question: str) -> str:
    """Return a question as a reader of the README knows it."""
    if question.endswith("bars, fill at next-open"):
        return f"`ntrader run`, {question.partition(', fill')[0]}"
    if question in ("--help", "history"):
        return f"`ntrader {question}`"
    return question


def written() -> str | None:
    """Return the table that the README has, or None."""
    found = _TABLE.search(README.read_text())
    return None if found is None else found[0].removeprefix(BEGIN).removesuffix(END).strip()


def renew() -> None:
    """Write the latest table into the README.

    Raises:
        ValueError: the README has no place for it.
    """
    text = README.read_text()
    latest = f"{BEGIN}\n{table(json.loads(LATEST.read_text()))}\n{END}"
    renewed, places = _TABLE.subn(lambda _: latest, text)
    if places != 1:
        raise ValueError(f"{README} has {places} places for the table.")
    README.write_text(renewed)
