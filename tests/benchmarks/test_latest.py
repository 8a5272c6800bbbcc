"""The README's figures are those of the latest measurement that was recorded."""

import json
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.__main__ import main
from benchmarks.findings import from_json


def test_the_readme_shows_the_latest_measurement() -> None:
    document = json.loads(readme.LATEST.read_text())

    assert readme.written() == readme.table(document), "python -m tests.benchmarks --readme"


def test_the_latest_measurement_is_whole() -> None:
    document = json.loads(readme.LATEST.read_text())

    assert document["failed"] == {}
    questions = {line.question for line in from_json(document)}
    assert questions.issuperset(readme.SHOWN)


def test_less_than_the_readme_shows_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--quick", "--record"])

    assert "--record wants --full" in capsys.readouterr().err


def test_a_figure_changed_by_hand_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "README.md"
    original = readme.README.read_text()
    changed.write_text(original.replace("| get one by id |", "| get one by id | 0.001 ms |"))
    monkeypatch.setattr(readme, "README", changed)
    assert readme.written() != readme.table(json.loads(readme.LATEST.read_text()))

    readme.renew()

    assert changed.read_text() == original
