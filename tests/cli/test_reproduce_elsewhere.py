"""Results hold elsewhere: in another process, on another Python, on a server of another kind.

The other Python is the one that NTRADER_OTHER_PYTHON names, in an environment in which this project
is installed. Else uv makes one from the lock, without a network; where it cannot, those tests are
skipped and say so.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import ntrader
from support.homes import temporary_home
from support.tcp_server import TcpServer, start_tcp_server

OTHER_PYTHON = "NTRADER_OTHER_PYTHON"
PROJECT = Path(__file__).parents[2]
SOURCES = Path(ntrader.__file__).parents[1]
STRATEGIES = ("sma", "rsi", "momentum")
SAMPLES = ("IBM", "GOOG")

# All commands in one process: loading the engine takes most of the time of each.
PROGRAM = """
import contextlib, io, json, sys
from ntrader.cli.main import main

for arguments in json.load(sys.stdin):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exit_code = main([*arguments, "--json"])
    document = json.loads(printed.getvalue())
    print(json.dumps({"exit_code": exit_code, "document": document}))
"""
STRATEGY = """
import rules
from ntrader.engine.strategies import LongFlatStrategy

class Steps(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 5:
            self.enter()
        elif self.bars % 20 == rules.EXIT:
            self.exit()
"""

type Documents = list[Any]


def do(python: Path, home: Path, *commands: Sequence[str], url: str | None = None) -> Documents:
    """Run commands in a process of their own, and return what each printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCES),
        "NTRADER_HOME": str(home),
        **({} if url is None else {"DATABASE_URL": url}),
    }
    done = subprocess.run(
        [str(python), "-c", PROGRAM],
        input=json.dumps(commands),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["exit_code"] for result in results] == [0] * len(commands), done.stdout
    return [result["document"] for result in results]


def version_of(python: Path) -> str:
    command = [str(python), "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def this_python() -> Path:
    return Path(sys.executable)


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of another version that can run this project."""
    named = os.environ.get(OTHER_PYTHON)
    python = Path(named) if named else made_by_uv(tmp_path_factory.mktemp("other") / "python")
    assert version_of(python).split(".")[:2] != version_of(Path(sys.executable)).split(".")[:2]
    return python


def made_by_uv(directory: Path) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip(f"no other Python: uv is not here, and {OTHER_PYTHON} is not set")
    made = subprocess.run(
        [uv, "sync", "--frozen", "--no-dev", "--offline", "--python", wanted_python()],
        cwd=PROJECT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if made.returncode != 0:
        why = made.stderr.strip().splitlines()[:1]
        pytest.skip(f"no other Python: uv cannot make one offline {why}; set {OTHER_PYTHON}")
    return directory / "bin" / "python"


def wanted_python() -> str:
    """Return an interpreter of pyenv's, whose shims refuse to run it, or else a version."""
    version = "3.12" if sys.version_info[:2] != (3, 12) else "3.13"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next(map(str, versions.glob(f"{version}.*/bin/python")), version)


@pytest.fixture
def tcp_server() -> Iterator[TcpServer]:
    with temporary_home() as directory:
        server = start_tcp_server(directory)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(params=["some", pytest.param("all", marks=pytest.mark.slow)])
def questions(request: pytest.FixtureRequest, tmp_path: Path) -> list[list[str]]:
    """A strategy from a file with a module beside it, and each strategy on each sample or one."""
    (tmp_path / "rules.py").write_text("EXIT = 15\n")
    (tmp_path / "steps.py").write_text(STRATEGY)
    pairs = list(product(STRATEGIES, SAMPLES)) if request.param == "all" else [("momentum", "GOOG")]
    built_in = [
        ["run", "--strategy", strategy, "--symbol", symbol, "--fee", "0.001"]
        for strategy, symbol in pairs
    ]
    return [*built_in, ["run", "--strategy", f"{tmp_path / 'steps.py'}:Steps"]]


def reproductions_of(runs: Documents) -> list[list[str]]:
    return [["reproduce", run["run_id"], "--trust"] for run in runs]


def assert_identical(found: Documents, runs: Documents, *, environment: str) -> None:
    assert [each["original"] for each in found] == [run["run_id"] for run in runs]
    for each in found:
        assert each["verdict"] == "identical"
        assert each["metric_differences"] == {}
        others = {pin: state for pin, state in each["checked"].items() if pin != "environment"}
        assert set(others.values()) == {"same"}
        assert each["checked"]["environment"] == environment


@pytest.mark.parametrize("back", [False, True], ids=["to the other", "from the other"])
def test_another_python_gives_the_same_answers(
    this_python: Path, other_python: Path, home: Path, questions: list[list[str]], back: bool
) -> None:
    first, second = (other_python, this_python) if back else (this_python, other_python)
    runs = do(first, home, *questions)

    found = do(second, home, *reproductions_of(runs))

    assert_identical(found, runs, environment="changed")
    change = f"python {version_of(first)} became {version_of(second)}"
    assert all(change in each["details"]["environment"] for each in found)


@pytest.mark.parametrize(
    ("exporter", "environment"),
    [
        pytest.param("this_python", "same", id="same Python"),
        pytest.param("other_python", "changed", id="other Python", marks=pytest.mark.slow),
    ],
)
def test_an_export_is_reproduced_by_another_process_on_a_server_of_another_kind(
    request: pytest.FixtureRequest,
    exporter: str,
    environment: str,
    this_python: Path,
    home: Path,
    tcp_server: TcpServer,
    questions: list[list[str]],
    tmp_path: Path,
) -> None:
    python: Path = request.getfixturevalue(exporter)
    file = str(tmp_path / "runs.zip")
    runs = do(python, home, *questions)
    do(python, home, ["export", *(run["run_id"] for run in runs), file, "--with-data"])

    with temporary_home() as empty:
        imported, *found = do(
            this_python, empty, ["import", file], *reproductions_of(runs), url=tcp_server.url
        )

    assert sorted(imported["imported"]) == sorted(run["run_id"] for run in runs)
    assert_identical(found, runs, environment=environment)
