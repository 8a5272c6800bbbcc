"""Make the dump of a store as an earlier version of ntrader left it; see README.md."""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
STRATEGY = """
from ntrader.engine.strategies import LongFlatStrategy

class Steps(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 5:
            self.enter()
        elif self.bars % 20 == 15:
            self.exit()
"""
BROKEN = STRATEGY.replace("self.exit()", "raise ValueError('no more')")
IMPORT = "data import bars.csv --symbol IBM --venue NYSE --kind equity --timeframe 1d --name bars"
SINCE_0001 = (
    IMPORT,
    "run --strategy sma --dataset bars -p fast_period=3 -p slow_period=8 --fee 0.001",
    "run --strategy rsi --dataset bars -p rsi_period=5",
    "run --strategy momentum --dataset bars -p lookback_period=5",
    "run --strategy steps.py:Steps --dataset bars",
    "run --strategy broken.py:Steps --dataset bars",
)
SINCE_0002 = (
    "tag @~1 upgraded größer",
    "note @~1 kept-beside",
    "reproduce @~1",
)


def bars() -> str:
    lines = ["date,open,high,low,close,volume"]
    for day in range(112):
        close = 100 + 10 * ((day % 20) / 10 - 1) ** 2
        lines.append(
            f"2020-{day // 28 + 1:02d}-{day % 28 + 1:02d},{close:.2f},{close + 1:.2f},"
            f"{close - 1:.2f},{close:.2f},1000"
        )
    return "\n".join(lines) + "\n"


def unpack(commit: str, directory: Path) -> Path:
    program = directory / "program"
    archive = directory / "program.tar"
    subprocess.run(
        ["git", "archive", "--output", str(archive), commit, "src", "alembic"], cwd=ROOT, check=True
    )
    with tarfile.open(archive) as tar:
        tar.extractall(program, filter="data")
    return program


def hold_at(program: Path, revision: str) -> None:
    """Take later revisions out of a program: one commit may have brought several."""
    for script in (program / "alembic" / "versions").glob("*.py"):
        if script.stem[:4] > revision:
            script.unlink()
    migrations = program / "src" / "ntrader" / "storage" / "migrations.py"
    migrations.write_text(
        re.sub('^HEAD = ".*"$', f'HEAD = "{revision}"', migrations.read_text(), flags=re.MULTILINE)
    )


def fill(program: Path, directory: Path, commands: tuple[str, ...]) -> None:
    (directory / "bars.csv").write_text(bars())
    (directory / "steps.py").write_text(STRATEGY)
    (directory / "broken.py").write_text(BROKEN)
    environment = {**os.environ, "PYTHONPATH": str(program / "src")}
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "ntrader", *command.split()],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stderr.write(f"{done.returncode} {command}\n{done.stderr}\n")


async def dump(home: Path, revision: str) -> None:
    from ntrader.services.dumps import write_dump
    from ntrader.services.workspace import Workspace
    from ntrader.storage.migrations import schema_version
    from ntrader.storage.store import Store

    async with Workspace(home) as workspace:
        database = workspace.database()
        found = (await schema_version(database)).current
        if found != revision:
            raise SystemExit(f"The program made revision {found}.")
        target = Path(__file__).with_name(f"{revision}.tar")
        await write_dump(workspace, Store.of(database), target, force=True)


def main(revision: str, commit: str) -> None:
    with tempfile.TemporaryDirectory(prefix="ntrader-asset-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o711)
        home = directory / "home"
        os.environ["NTRADER_HOME"] = str(home)
        os.environ.pop("DATABASE_URL", None)
        commands = SINCE_0001 if revision == "0001" else SINCE_0001 + SINCE_0002
        program = unpack(commit, directory)
        hold_at(program, revision)
        fill(program, directory, commands)
        asyncio.run(dump(home, revision))


if __name__ == "__main__":
    main(*sys.argv[1:])
