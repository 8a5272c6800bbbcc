"""Commands that are killed at any moment, many at once: nothing is lost, twice, half or left over.

Each kill's moment is chosen with a seed, which is printed where a test fails; `--kill-seed` takes
it, `--rounds` and `--seconds` make it longer. The end of the session tells what it came to.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from ntrader.storage.embedded import EmbeddedServer
from ntrader.storage.migrations import HEAD
from support.commands import Result
from support.database import Background, TestServer
from support.homes import temporary_home
from support.old_stores import ASSETS, load_old_store
from support.processes import PATIENCE, run_process
from support.tortured import (
    DESCRIBED,
    WITNESSED,
    Found,
    TorturedStore,
    answered,
    next_command_complaints,
    write_bars,
)
from support.victims import Fault, Tally, Victim, end_servers_of, see_through, servers_of

pytestmark = pytest.mark.slow

WRITERS = 16
AT_ONCE = 10
SECONDS_BETWEEN_KILLS = 5.0

STEPS_OF_RESTORE = 90
STEPS_OF_MIGRATION = 60
STEPS_OF_FIRST_START = 90
STEPS_OF_START = 45


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """What chooses; the test's name is part of the seed."""
    seed = request.config.getoption("--kill-seed", 1)
    sys.stdout.write(f"--kill-seed {seed}\n")
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    count: int = request.config.getoption("--rounds", 3)
    return count


@pytest.fixture
def tidy_home(home: Path) -> Iterator[Path]:
    """An empty home; what a failed test leaves running in it is ended."""
    yield home
    end_servers_of(home)


@pytest.fixture
def judged(kills: Tally) -> Iterator[Tally]:
    """The session's counts; the test fails where there is any complaint."""
    kills.failures.clear()
    yield kills
    failures, kills.failures = kills.failures, []
    if failures:
        pytest.fail("\n".join(failures))


def test_no_kill_loses_anything_of_a_store(
    tidy_home: Path, tmp_path: Path, chance: random.Random, rounds: int, judged: Tally
) -> None:
    """Of run, reproduce, import, delete, export, data import, data delete and db dump."""
    store = TorturedStore(tidy_home, tmp_path, chance, judged)

    for _ in range(rounds):
        store.round(chance.randint(2, AT_ONCE))

    assert not judged.runs_lost
    assert not judged.runs_twice


def test_no_kill_leaves_an_embedded_server_that_is_half_made_or_left(
    tmp_path: Path, chance: random.Random, rounds: int, judged: Tally
) -> None:
    for turn in range(rounds):
        with temporary_home() as home:
            try:
                torture_server(home, tmp_path / str(turn), chance, judged)
            finally:
                end_servers_of(home)


def torture_server(home: Path, directory: Path, chance: random.Random, tally: Tally) -> None:
    """Kill what makes a server, two at once, then what starts and what stops it."""
    first, later = STEPS_OF_FIRST_START, STEPS_OF_START
    at_once: tuple[tuple[tuple[str, ...], int], ...]
    for turn, at_once in enumerate(
        (
            ((("history",), first), (("db", "start"), first)),
            ((("db", "start"), first),),
            ((("history",), later), (("db", "stop"), later)),
        )
    ):
        see_through(
            [
                Victim(
                    arguments,
                    Fault.at_random(chance, steps),
                    directory / f"{turn}{number}",
                    NTRADER_HOME=str(home),
                )
                for number, (arguments, steps) in enumerate(at_once)
            ],
            tally,
        )
    env = {"NTRADER_HOME": str(home)}
    stopped = run_process("db", "stop", cwd=directory, env=env)
    assert stopped.exit_code == 0, stopped
    tally.failures += next_command_complaints(home, tally, **env)


def restored_once(
    home: Path, directory: Path, dump: Path, chance: random.Random, tally: Tally
) -> None:
    """Kill a restore, restore again, and look for what was in the dump."""
    victim = Victim(("db", "restore", dump), Fault.at_random(chance, STEPS_OF_RESTORE), directory)
    see_through([victim], tally)

    again = run_process("db", "restore", dump, "--json", cwd=directory)

    was_committed = again.exit_code == 1 and "is not empty" in again.stdout
    if again.exit_code != 0 and not was_committed:
        tally.failures.append(f"{victim}, and then {again}")
    tally.failures += [f"{victim}: {each}" for each in next_command_complaints(home, tally)]


@pytest.fixture
def elsewhere(
    monkeypatch: pytest.MonkeyPatch, postgres: TestServer
) -> Callable[[ExitStack, str | None], tuple[Path, str]]:
    """Give a home of its own, and an empty database or a copy of one, which DATABASE_URL names."""

    def make(stack: ExitStack, original: str | None) -> tuple[Path, str]:
        home = stack.enter_context(temporary_home())
        made = postgres.copied_database(original) if original else postgres.empty_database()
        url = stack.enter_context(made)
        monkeypatch.setenv("NTRADER_HOME", str(home))
        monkeypatch.setenv("DATABASE_URL", url)
        return home, url

    return make


def test_no_kill_leaves_a_store_half_restored(
    elsewhere: Any, tmp_path: Path, chance: random.Random, rounds: int, judged: Tally
) -> None:
    today = tmp_path / "today.tar"
    with ExitStack() as stack:
        elsewhere(stack, None)
        answered("db", "restore", max(ASSETS.glob("*.tar")))
        answered("db", "dump", today)
    dumps = [today, *sorted(ASSETS.glob("*.tar"))]

    for turn in range(rounds):
        dump = chance.choice(dumps)
        with ExitStack() as stack:
            home, _ = elsewhere(stack, None)
            restored_once(home, tmp_path / str(turn), dump, chance, judged)
            account_for(Found.now(), runs_of_dump(dump), judged)


def runs_of_dump(dump: Path) -> int:
    from ntrader.storage.dump_files import opened_dump

    with opened_dump(dump) as opened:
        return opened.contents.tables["backtest_runs"].rows


def account_for(found: Found, expected: int, tally: Tally) -> None:
    """Count runs that were there before; a row's id is unique."""
    tally.runs_lost += max(0, expected - len(found.runs))
    tally.runs_twice += max(0, len(found.runs) - expected)
    if len(found.runs) != expected:
        tally.failures.append(f"{len(found.runs)} runs of {expected}")


def test_no_kill_leaves_a_store_half_upgraded(
    elsewhere: Any,
    background: Background,
    tmp_path: Path,
    chance: random.Random,
    rounds: int,
    judged: Tally,
) -> None:
    """Of several processes that start at once after an upgrade of the program."""
    revision = chance.choice(sorted(path.stem for path in ASSETS.glob("*.tar")))
    expected = runs_of_dump(ASSETS / f"{revision}.tar")
    with ExitStack() as stack:
        _, old = elsewhere(stack, None)
        for turn in range(rounds):
            with ExitStack() as inner:
                if turn == 0:
                    background.run(load_old_store(old, Path(os.environ["NTRADER_HOME"]), revision))
                home, _ = elsewhere(inner, old)
                upgraded_once(home, tmp_path / str(turn), revision, chance, judged)
                account_for(Found.now(), expected, judged)


def upgraded_once(
    home: Path, directory: Path, revision: str, chance: random.Random, tally: Tally
) -> None:
    """Kill three commands that each would upgrade the store; then the next one does."""
    from ntrader.services.dumps import restore_files
    from ntrader.services.workspace import Workspace
    from ntrader.storage.dump_files import opened_dump

    with opened_dump(ASSETS / f"{revision}.tar") as dump:
        restore_files(Workspace(home), dump)
    victims = [
        Victim(
            ("history", "--json"),
            Fault.at_random(chance, STEPS_OF_MIGRATION),
            directory / str(number),
        )
        for number in range(3)
    ]
    see_through(victims, tally)

    upgraded = run_process("db", "upgrade", "--json", cwd=directory)

    if upgraded.exit_code != 0 or upgraded.json["after"] != HEAD:
        tally.failures.append(f"{[str(victim) for victim in victims]}, and then {upgraded}")
    elif upgraded.json["before"] not in (revision, HEAD):
        tally.failures.append(f"half upgraded: {upgraded}")
    tally.failures += next_command_complaints(home, tally)


def test_many_writers_lose_nothing_while_their_server_is_killed_again_and_again(
    tidy_home: Path,
    tmp_path: Path,
    chance: random.Random,
    judged: Tally,
    request: pytest.FixtureRequest,
) -> None:
    seconds = float(request.config.getoption("--seconds", 8))
    (tmp_path / "witnessed.py").write_text(WITNESSED)
    bars = write_bars(tmp_path / "base.csv")
    told = tmp_path / "told"
    told.mkdir()
    assert answered("data", "import", bars, *DESCRIBED, "--name", "base")

    done = written(tidy_home, tmp_path, told, seconds, chance, judged)

    assert done.exit_code == 0, done.stderr
    lines = [line.split(maxsplit=2) for path in told.glob("[0-9]*") for line in lines_of(path)]
    assert len({tag for tag, *_ in lines}) == len(lines)
    judged.failures += next_command_complaints(tidy_home, judged)
    saved = saved_runs(tidy_home)
    for tag, outcome, *_ in lines:
        own = [status for tags, status in saved if tag in tags]
        witnessed = (told / tag).exists()
        judged.account(started=witnessed or outcome != "refused", saved=len(own))
        if len(own) != (1 if witnessed else 0) or (own and own != ["success"]):
            judged.failures.append(f"{tag} {outcome}: {own}")
    assert len(saved) == sum(outcome != "refused" for _, outcome, *_ in lines)
    assert len(saved) >= WRITERS


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def saved_runs(home: Path) -> list[tuple[list[str], str]]:
    """Return the tags and the status of every run."""
    saved: list[tuple[list[str], str]] = []
    with EmbeddedServer(home):
        after: list[str] = []
        while True:
            page = answered("history", "--limit", "1000", *after)
            saved += [(run["tags"], run["status"]) for run in page["runs"]]
            if page["next"] is None:
                return saved
            after = ["--after", page["next"]]


def written(
    home: Path, place: Path, told: Path, seconds: float, chance: random.Random, tally: Tally
) -> Result:
    """Let the writers write while their server and its processes are killed."""
    script = Path(__file__).parents[1] / "support" / "writers.py"
    with (place / "err").open("w") as err:
        writers = subprocess.Popen(
            [sys.executable, script, str(WRITERS), str(seconds), told], cwd=place, stderr=err
        )
        deadline = time.monotonic() + seconds + 5 * PATIENCE
        last = time.monotonic()
        try:
            while writers.poll() is None and time.monotonic() < deadline:
                if time.monotonic() - last >= SECONDS_BETWEEN_KILLS:
                    last = time.monotonic()
                    tally.faults_injected += kill_a_server(home, chance)
                time.sleep(0.05)
        finally:
            if writers.poll() is None:
                tally.hangs += 1
                writers.kill()
                writers.wait()
                end_servers_of(place)
    return Result(writers.returncode, "", (place / "err").read_text())


def kill_a_server(home: Path, chance: random.Random) -> bool:
    """Kill the server of a home, or one process of it that serves; return whether there was one."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        if pid not in servers_of(home):
            # It has been killed before, and nobody has started it again yet.
            return False
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        serving = [child for child in children if "[local]" in command_line(child)]
        victim = int(chance.choice(serving)) if serving and chance.random() < 0.5 else pid
        os.kill(victim, signal.SIGKILL)
        return True
    return False


def command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
