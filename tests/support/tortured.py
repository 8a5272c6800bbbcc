"""A store whose commands are killed, and what must hold of it afterwards."""

import random
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ntrader.cli.main import main
from ntrader.storage.dump_files import opened_dump
from ntrader.storage.embedded import EmbeddedServer
from support.commands import Result
from support.processes import run_process
from support.victims import Fault, Tally, Victim, see_through, servers_of

WITNESSED = """
import os
from ntrader.engine.strategies import LongFlatStrategy

class Witnessed(LongFlatStrategy):
    '''Trades, leaves word elsewhere that it was started, and takes steps to be killed at.'''

    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars == 1 and "WITNESS" in os.environ:
            open(os.environ["WITNESS"], "w").close()
        if self.bars % 3 == 0:
            open(os.devnull, "w").close()
        if self.bars % 10 == 5:
            self.enter()
        if self.bars % 10 == 0:
            self.exit()
"""

DESCRIBED = ("--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d")
RUN = ("run", "--strategy", "witnessed.py:Witnessed", "--dataset", "base")
ORIGINALS = 5
BUNDLES = 8
RUNS_IN_BUNDLE = 2

# About as many steps as each command takes, and some more: the last faults come too late.
STEPS = {
    "run": 160,
    "reproduce": 170,
    "import": 130,
    "delete": 110,
    "export": 75,
    "data import": 75,
    "data delete": 60,
    "dump": 90,
}
# Runs are what must not be lost.
WEIGHTS = [4 if kind in ("run", "reproduce") else 1 for kind in STEPS]


def write_bars(path: Path, *, level: int = 100, count: int = 60) -> Path:
    """Write a CSV of daily bars that rise and fall around a price, which makes them other data."""
    lines = ["date,open,high,low,close,volume"]
    for day in range(count):
        close = level + 10 * ((day % 20) / 10 - 1) ** 2
        month, rest = divmod(day, 28)
        lines.append(
            f"2020-{month + 1:02d}-{rest + 1:02d},{close:.2f},{close + 1:.2f},"
            f"{close - 1:.2f},{close:.2f},1000"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def called(*arguments: object) -> Result:
    """Run a command in this process."""
    out = StringIO()
    with redirect_stdout(out):
        exit_code = main([str(argument) for argument in arguments])
    return Result(exit_code, out.getvalue(), "")


def answered(*arguments: object) -> Any:
    """Run a command in this process, which must succeed, and return its document."""
    done = called(*arguments, "--json")
    assert done.exit_code == 0, done
    return done.json


@dataclass(frozen=True, slots=True)
class Found:
    """What the store holds after a round."""

    runs: dict[str, dict[str, Any]]
    datasets: dict[str, str]

    @classmethod
    def now(cls) -> "Found":
        listed = answered("history", "--limit", "1000")["runs"]
        assert len(listed) < 1000, "more runs than one page holds"
        datasets = answered("data", "list")["datasets"]
        return cls(
            runs={run["run_id"]: run for run in listed},
            datasets={each["name"]: each["content_hash"] for each in datasets},
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """A command that is to be killed, and what it may have done.

    `judge` gets what the store holds, the new runs and whether the command succeeded; it takes the
    runs that are the command's own out of the new ones, and returns what is wrong.
    """

    victim: Victim
    judge: Callable[[Found, set[str], bool], list[str]]


class TorturedStore:
    """The store of an empty home, on the embedded server."""

    def __init__(self, home: Path, directory: Path, chance: random.Random, tally: Tally) -> None:
        self.home = home
        self.directory = directory
        self.chance = chance
        self.tally = tally
        self._made = 0
        self.runs: set[str] = set()
        self.datasets: list[str] = []
        self._spare: list[str] = []
        with EmbeddedServer(home):
            self._prepare()

    def _prepare(self) -> None:
        """Make originals to reproduce, and files with runs that are not here any more."""
        self.place = self.directory / "place"
        self.place.mkdir()
        (self.place / "witnessed.py").write_text(WITNESSED)
        bars = write_bars(self.place / "base.csv")
        assert self._done("data", "import", bars, *DESCRIBED, "--name", "base").exit_code == 0
        count = ORIGINALS + BUNDLES * RUNS_IN_BUNDLE
        made = [self._done(*RUN, "--json").json["run_id"] for _ in range(count)]
        self.originals, departing = made[:ORIGINALS], made[ORIGINALS:]
        self.bundles = {}
        for number in range(BUNDLES):
            chosen = tuple(departing[number * RUNS_IN_BUNDLE :][:RUNS_IN_BUNDLE])
            file = self.place / f"bundle{number}.zip"
            answered("export", *chosen, file, "--with-data")
            self.bundles[file] = chosen
        answered("delete", *departing, "--yes")
        self.runs = set(self.originals)

    def _done(self, *arguments: object) -> Result:
        with chdir(self.place):
            return called(*arguments)

    def round(self, at_once: int) -> None:
        """Kill some commands that run at once, and see what is left of them."""
        kinds = self.chance.choices(list(STEPS), WEIGHTS, k=at_once)
        busy: set[str] = set()
        attempts = [attempt for kind in kinds if (attempt := self._attempt(kind, busy)) is not None]
        for attempt in attempts:
            sys.stdout.write(f"{attempt.victim}\n")
        see_through([attempt.victim for attempt in attempts], self.tally)
        self._look_at(attempts)

    def _look_at(self, attempts: Sequence[Attempt]) -> None:
        failures = self.tally.failures
        failures += next_command_complaints(self.home, self.tally)
        with EmbeddedServer(self.home):
            found = Found.now()
        new = set(found.runs) - self.runs
        gone = self.runs - set(found.runs)
        for attempt in attempts:
            done = attempt.victim.result
            wrong = attempt.judge(found, new, done.exit_code == 0)
            failures += [f"{attempt.victim}: {each}" for each in wrong]
            gone -= set(attempt.victim.arguments)
        self.tally.runs_lost += len(gone)
        failures += [f"the run {run} is lost" for run in gone]
        failures += [f"nobody began the run {run}" for run in new]
        self.runs = set(found.runs)

    def _attempt(self, kind: str, busy: set[str]) -> Attempt | None:
        """Start a command of a kind; None where all that it could work on is taken."""
        self._made += 1
        attempt: Attempt | None = getattr(self, f"_{kind.replace(' ', '_')}")(busy)
        return attempt

    def _victim(self, kind: str, *arguments: object, **environment: str) -> Victim:
        scratch = self.directory / f"{self._made}"
        scratch.mkdir()
        (scratch / "witnessed.py").write_text(WITNESSED)
        fault = Fault.at_random(self.chance, STEPS[kind])
        return Victim(arguments, fault, scratch, **environment)

    def _free(self, candidates: Sequence[str], busy: set[str]) -> str | None:
        free = sorted(set(candidates) - busy)
        if not free:
            return None
        chosen = self.chance.choice(free)
        busy.add(chosen)
        return chosen

    def _run(self, _busy: set[str]) -> Attempt:
        tag = f"kill-{self._made}"

        def is_own(run: dict[str, Any]) -> bool:
            return tag in run["tags"]

        return self._begun("run", (*RUN, "--tag", tag, "--json"), is_own)

    def _reproduce(self, busy: set[str]) -> Attempt | None:
        original = self._free(self.originals, busy)
        if original is None:
            return None

        def is_own(run: dict[str, Any]) -> bool:
            return bool(run["reproduced_from"] == original)

        return self._begun("reproduce", ("reproduce", original, "--json"), is_own)

    def _begun(
        self, kind: str, arguments: tuple[str, ...], is_own: Callable[[dict[str, Any]], bool]
    ) -> Attempt:
        witness = self.directory / f"witness{self._made}"

        def judge(found: Found, new: set[str], succeeded: bool) -> list[str]:
            own = {run for run in new if is_own(found.runs[run])}
            new.difference_update(own)
            self.tally.account(started=succeeded or witness.exists(), saved=len(own))
            if succeeded and [found.runs[run]["status"] for run in own] != ["success"]:
                return ["it succeeded, and its run did not"]
            if len(own) > 1 or (witness.exists() and not own):
                return [f"its run is saved {len(own)} times"]
            return []

        return Attempt(self._victim(kind, *arguments, WITNESS=str(witness)), judge)

    def _import(self, busy: set[str]) -> Attempt | None:
        free = [str(file) for file, runs in self.bundles.items() if busy.isdisjoint(runs)]
        file = self._free(free, busy)
        if file is None:
            return None
        runs = set(self.bundles[Path(file)]) - self.runs
        busy.update(self.bundles[Path(file)])

        def judge(found: Found, new: set[str], succeeded: bool) -> list[str]:
            new.difference_update(runs)
            here = runs & set(found.runs)
            if here == runs or not (here or succeeded):
                return []
            return [f"{len(here)} of {len(runs)} runs are imported"]

        return Attempt(self._victim("import", "import", file), judge)

    def _delete(self, busy: set[str]) -> Attempt | None:
        free = sorted(self.runs - set(self.originals) - busy)
        # Those of a file that is imported just now are not to be deleted by another.
        chosen = set(self.chance.sample(free, min(len(free), 2)))
        if not chosen:
            return None
        busy.update(chosen)
        busy.update(str(file) for file, runs in self.bundles.items() if chosen & set(runs))

        def judge(found: Found, _new: set[str], succeeded: bool) -> list[str]:
            left = chosen & set(found.runs)
            if left in (set(), chosen) and not (succeeded and left):
                return []
            return [f"{len(left)} of {len(chosen)} runs are left"]

        return Attempt(self._victim("delete", "delete", *sorted(chosen), "--yes"), judge)

    def _export(self, _busy: set[str]) -> Attempt:
        file = self.directory / f"{self._made}.zip"

        def judge(_found: Found, _new: set[str], succeeded: bool) -> list[str]:
            if not file.exists():
                return ["there is no file"] if succeeded else []
            with zipfile.ZipFile(file) as archive:
                return [] if archive.testzip() is None else ["the file is damaged"]

        return Attempt(self._victim("export", "export", *self.originals, file), judge)

    def _dump(self, _busy: set[str]) -> Attempt:
        file = self.directory / f"{self._made}.tar"

        def judge(_found: Found, _new: set[str], succeeded: bool) -> list[str]:
            if not file.exists():
                return ["there is no file"] if succeeded else []
            with opened_dump(file), tarfile.open(file) as archive:
                return [] if "SHA256SUMS" in archive.getnames() else ["the file is damaged"]

        return Attempt(self._victim("dump", "db", "dump", file), judge)

    def _data_import(self, _busy: set[str]) -> Attempt:
        name = f"data-{self._made}"
        bars = write_bars(self.directory / f"{name}.csv", level=100 + self._made)

        def judge(found: Found, _new: set[str], succeeded: bool) -> list[str]:
            self._spare = [each for each in found.datasets if each != "base"]
            return ["there is no dataset"] if succeeded and name not in found.datasets else []

        arguments = ("data", "import", bars, *DESCRIBED, "--name", name)
        return Attempt(self._victim("data import", *arguments), judge)

    def _data_delete(self, busy: set[str]) -> Attempt | None:
        name = self._free(self._spare, busy)
        if name is None:
            return None

        def judge(found: Found, _new: set[str], succeeded: bool) -> list[str]:
            self._spare = [each for each in found.datasets if each != "base"]
            return ["it is still there"] if succeeded and name in found.datasets else []

        return Attempt(self._victim("data delete", "data", "delete", name, "--yes"), judge)


def next_command_complaints(home: Path, tally: Tally, **environment: str) -> list[str]:
    """Return what is wrong with a store that nobody uses, as the next command finds it."""
    checked = run_process("db", "check", "--json", cwd=home, env=environment)
    wrong: list[str] = []
    if checked.exit_code != 0:
        return [f"db check: {checked}"]
    report = checked.json
    if not report["clean"] or report["recent_files"]:
        wrong.append(f"not clean: {checked.stdout}")
    if left := [path.name for path in (home / "journal").glob("*")]:
        wrong.append(f"the journal holds {left}")
    if left_servers := servers_of(home):
        tally.servers_left += len(left_servers)
        wrong.append(f"a server is left: {left_servers}")
    return wrong
