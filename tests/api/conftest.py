"""One service for each module of tests, on a database and a home of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database import TestServer
from support.homes import temporary_home
from support.service import Api, ServiceProcess, process


@pytest.fixture(scope="module")
def service_environment(postgres: TestServer) -> Iterator[dict[str, str]]:
    """The settings of the module's service."""
    with postgres.migrated_database() as url, temporary_home() as home:
        yield {"DATABASE_URL": url, "NTRADER_HOME": str(home), "XDG_CONFIG_HOME": str(home)}


@pytest.fixture(scope="module")
def service(
    service_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service with a worker."""
    directory: Path = tmp_path_factory.mktemp("service")
    arguments = ("serve", "--port", "0", "--with-worker")
    with process(directory, service_environment, *arguments) as started:
        yield started


@pytest.fixture(scope="module")
def api(service: ServiceProcess) -> Iterator[Api]:
    """A client of the module's service."""
    with Api(service.address) as client:
        yield client
