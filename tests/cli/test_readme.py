"""The README: every command line in it is run, and what it shows is what is printed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ntrader.cli.main import main
from support import readme
from support.commands import Command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shell(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bars_csv: Callable[..., Path],
) -> readme.Shell:
    """Run a README's command as a newcomer does: in an empty home, on the embedded server."""
    monkeypatch.chdir(tmp_path)
    bars_csv("prices.csv")
    (source,) = readme.blocks("python")
    (tmp_path / "breakout.py").write_text(source)

    def run(command: str) -> str:
        arguments, file = readme.arguments(command)
        exit_code = main(arguments)
        printed = capsys.readouterr()
        assert exit_code == 0, printed.err
        if file is not None:
            Path(file).write_text(printed.out)
            return printed.err
        return printed.out + printed.err

    return run


@pytest.mark.skipif("UPDATE_README" not in os.environ, reason="only to renew the README")
def test_write_the_real_output_into_the_readme(shell: readme.Shell) -> None:
    readme.README.write_text(readme.rewrite(shell))


def test_the_readme_shows_what_its_commands_print(shell: readme.Shell) -> None:
    told = [pair for block in readme.blocks("console") for pair in readme.commands(block)]
    assert len(told) > 15

    for command, written in told:
        printed = shell(command)

        assert readme.matches(written, printed), f"$ {command}\n{printed}"


def test_the_strategy_of_the_readme_is_short() -> None:
    (source,) = readme.blocks("python")

    assert len(source.splitlines()) < 32


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_the_two_commands_work_in_this_checkout(home: Path, tmp_path: Path) -> None:
    lines = [line for block in readme.blocks("sh") for line in block.splitlines()]
    first, second = (line for line in lines if line.startswith("pip install uv && "))
    environment = {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        "NTRADER_HOME": str(home),
        "UV_FROZEN": "1",
    }

    def uv(line: str) -> subprocess.CompletedProcess[str]:
        command = line.removeprefix("pip install uv && ")
        return subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    ran = uv(first)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"Saved\. See it again with `ntrader show [0-9a-f]{8}`", ran.stderr)
    tests = uv(f"{second} --collect-only -q tests/unit/test_metrics.py")
    assert tests.returncode == 0, tests.stdout


def test_every_other_shell_line_is_known(ntrader: Command) -> None:
    """A new line in the README needs a test; these have one, or are this test's own command."""
    known = {
        "pip install uv && uv run ntrader run --strategy sma",
        "pip install uv && uv run pytest",
        "uv tool install .",
        'eval "$(_NTRADER_COMPLETE=bash_source ntrader)"',
        "export DATABASE_URL=postgresql://quant:secret@db.example.com/backtests",
        ".ci/check",
        # The tests in tests/api start the service, and make keys to it, by these commands.
        "uv tool install '.[server]'",
        "ntrader serve --with-worker",
        "ntrader worker --slots 4",
        "ntrader keys create platform --scope write",
        "ntrader serve --host 0.0.0.0",
    }

    lines = [line for block in readme.blocks("sh") for line in block.splitlines()]
    assert {line.partition("  #")[0].rstrip() for line in lines} == known
