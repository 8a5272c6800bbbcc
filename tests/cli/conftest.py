"""Fixtures that run the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command, Result, run_here


@pytest.fixture
def ntrader(
    home: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command in this process, on a database and a home of the test's own."""
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*arguments: object) -> Result:
        return run_here(arguments, capsys)

    return run


@pytest.fixture
def bars_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV of daily bars that rise and fall, and return its path.

    The closes of the bars `moved` are a cent higher.
    """

    def write(
        name: str = "bars.csv", *, count: int = 60, moved: int | tuple[int, ...] = ()
    ) -> Path:
        higher = (moved,) if isinstance(moved, int) else moved
        lines = ["date,open,high,low,close,volume"]
        for day in range(count):
            close = 100 + 10 * ((day % 20) / 10 - 1) ** 2 + (0.01 if day in higher else 0)
            month, rest = divmod(day, 28)
            lines.append(
                f"2020-{month + 1:02d}-{rest + 1:02d},{close:.2f},{close + 1:.2f},"
                f"{close - 1:.2f},{close:.2f},1000"
            )
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
