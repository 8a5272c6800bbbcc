"""`ntrader db`: the database as a user looks after it."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Command


def test_status_start_url_and_stop_of_the_embedded_server(ntrader_process: Command) -> None:
    before = ntrader_process("db", "status", "--json").json
    ntrader_process("db", "start")
    during = ntrader_process("db", "status", "--json").json
    url = ntrader_process("db", "url").stdout.strip()
    over_url = ntrader_process("history", "--json", env={"DATABASE_URL": url})
    stopped = ntrader_process("db", "stop", "--json").json
    after = ntrader_process("db", "status", "--json").json

    assert (before["kind"], before["running"], before["schema"]) == ("embedded", False, None)
    assert during["running"] is True
    assert during["embedded"]["kept"] is True
    assert over_url.json == {"runs": [], "next": None}
    assert stopped == {"outcome": "stopped"}
    assert after["running"] is False


def test_upgrade_makes_the_schema_once(
    ntrader: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    first = ntrader("db", "upgrade", "--json").json
    second = ntrader("db", "upgrade")

    assert first["before"] is None
    assert ntrader("db", "status", "--json").json["schema"] == first["after"]
    assert "up to date" in second.stdout


def test_alembic_upgrades_from_a_checkout(
    empty_database_url: str, ntrader: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "up to date" in ntrader("db", "upgrade").stdout


@pytest.mark.parametrize("command", ["start", "stop"])
def test_a_server_of_ones_own_is_not_started_or_stopped(ntrader: Command, command: str) -> None:
    refused = ntrader("db", command)

    assert refused.exit_code == 2
    assert "DATABASE_URL" in refused.stderr


def test_the_password_is_never_printed(ntrader: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://quant:sesame@127.0.0.1:9/none")

    printed = [ntrader("db", command, "--json") for command in ("status", "url", "upgrade")]

    assert all("sesame" not in result.stdout + result.stderr for result in printed)
    assert "quant" in printed[1].json["url"]
    assert [result.exit_code for result in printed] == [4, 0, 4]


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense", "postgresql://host:port/db"])
def test_a_wrong_url_is_refused_in_words(
    ntrader: Command, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    refused = ntrader("history")

    assert refused.exit_code == 2
    assert "Traceback" not in refused.stderr
