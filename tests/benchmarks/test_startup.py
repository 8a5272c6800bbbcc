"""The start-up of a command, package by package."""

import subprocess
import sys

import pytest

from benchmarks.startup import StartUp, Traced, by_package, markdown, read_import_times


def test_imports_are_summed_by_package() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import click.core, json.decoder, sqlalchemy"],
        capture_output=True,
        text=True,
        check=True,
    )

    modules = read_import_times(done.stderr)
    sums = by_package(modules)

    assert {"click", "click.core", "json", "json.decoder", "sqlalchemy.sql"} <= modules.keys()
    assert sums.keys() >= {"click", "stdlib", "sqlalchemy"}
    assert sum(sums.values()) == pytest.approx(sum(modules.values()))
    click = [own for name, own in modules.items() if name.partition(".")[0] == "click"]
    assert sums["click"] == pytest.approx(sum(click))


def test_a_package_counts_what_it_brings_along() -> None:
    assert by_package({"pydantic": 1.0, "pydantic_core": 2.0, "yaml": 4.0, "abc": 8.0}) == {
        "pydantic": 3.0,
        "others": 4.0,
        "stdlib": 8.0,
    }


def test_before_and_after_stand_in_one_cell() -> None:
    before = StartUp(wall=500, cpu=480, bare=20, traced=Traced(700, {"pydantic": 100, "click": 50}))
    after = StartUp(wall=400, cpu=390, bare=20, traced=Traced(600, {"click": 40}))

    lines = markdown([{"history": before}, {"history": after, "show @": after}]).splitlines()

    assert lines[0] == "| ms | `history` | `show @` |"
    assert "| wall | 500 → 400 | - → 400 |" in lines
    assert "| wall, x python | 25 → 20 | - → 20 |" in lines
    assert "| - pydantic | 100 → - | - → - |" in lines
    assert "| - the rest | 530 → 540 | - → 540 |" in lines
    assert not any("numpy" in line for line in lines)


def test_the_shortest_time_of_each_module_counts() -> None:
    rounds = [Traced(90, {"click": 5.0, "rich": 9.0}), Traced(80, {"click": 7.0, "rich": 8.0})]

    assert Traced.least_disturbed(rounds) == Traced(80, {"click": 5.0, "rich": 8.0})
