"""What a command loads before it works, and how long it takes: its start-up, package by package.

    uv run python -m tests.benchmarks.startup [--before COMMIT] [--rounds 5]

Import times are those of `python -X importtime`, each module's own, summed by package, of the round
that disturbed the module least. `python` is what `python -c pass` takes, `the rest` what is left of
a traced round: work, the way to the database, and the exit. With `--before` the same is done with
the sources of a commit, in the same environment, in turn.
"""
# ruff: noqa: T201

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .machine import ROOT
from .timing import Subject, environment, run, time_in_turn, unwind_when_terminated

COMMANDS = ("history", "show @", "compare @~1 @", "run --strategy sma")
PACKAGES = (
    *("click", "rich", "asyncpg", "sqlalchemy", "pydantic", "structlog", "numpy", "pyarrow"),
    *("pandas", "nautilus_trader", "ntrader"),
)
BELONGS = {
    "pydantic_core": "pydantic",
    "pydantic_settings": "pydantic",
    "greenlet": "sqlalchemy",
    "pygments": "rich",
}
STDLIB, OTHERS = "stdlib", "others"
GROUPS = (*PACKAGES, OTHERS, STDLIB)
BARE = Subject("python", [sys.executable, "-c", "pass"])
LINES = (
    *("wall", "wall, x python", "CPU", "modules", "traced", "- python"),
    *(f"- {group}" for group in GROUPS),
    "- the rest",
)
NONE = "-"


@dataclass(frozen=True, slots=True)
class Traced:
    """A command under `-X importtime`: milliseconds, of all and of each module's own import."""

    wall: float
    imports: Mapping[str, float]

    @classmethod
    def least_disturbed(cls, rounds: Sequence[Self]) -> Self:
        """Return the shortest times of several rounds."""
        return cls(
            min(each.wall for each in rounds),
            {
                module: min(each.imports[module] for each in rounds if module in each.imports)
                for module in rounds[-1].imports
            },
        )


@dataclass(frozen=True, slots=True)
class StartUp:
    """One command, and `python -c pass` beside it: milliseconds, without and with tracing."""

    wall: float
    cpu: float
    bare: float
    traced: Traced

    @property
    def cells(self) -> dict[str, str]:
        """The lines of its column."""
        packages = by_package(self.traced.imports)
        rest = self.traced.wall - self.bare - sum(packages.values())
        milliseconds = {
            "wall": self.wall,
            "CPU": self.cpu,
            "traced": self.traced.wall,
            "- python": self.bare,
            **{f"- {package}": value for package, value in packages.items()},
            "- the rest": rest,
        }
        cells = {name: f"{value:.0f}" for name, value in milliseconds.items()}
        modules = str(len(self.traced.imports))
        return {**cells, "modules": modules, "wall, x python": f"{self.wall / self.bare:.0f}"}


def measure(sides: Sequence[Mapping[str, str]], *, rounds: int) -> list[dict[str, StartUp]]:
    """Return the start-up of each command that there is, in each of the environments, in turn."""
    asked = [
        (side, command)
        for side, env in enumerate(sides)
        for command in COMMANDS
        if _is_known(command, env)
    ]
    subjects = {key: Subject(str(key), _ntrader(key[1]), sides[key[0]]) for key in asked}
    timings = time_in_turn([BARE, *subjects.values()], environment(), rounds=rounds)
    traced: dict[tuple[int, str], list[Traced]] = {key: [] for key in asked}
    for _ in range(rounds):
        for key, rounds_of in traced.items():
            rounds_of.append(_traced(key[1], sides[key[0]]))
    found: list[dict[str, StartUp]] = [{} for _ in sides]
    for (side, command), rounds_of in traced.items():
        timing = timings[str((side, command))]
        found[side][command] = StartUp(
            wall=min(timing.wall) * 1e3,
            cpu=min(timing.cpu) * 1e3,
            bare=min(timings[BARE.name].wall) * 1e3,
            traced=Traced.least_disturbed(rounds_of),
        )
    return found


@contextmanager
def store(home: Path, source: Path) -> Iterator[dict[str, str]]:
    """Give the environment of these sources, with two runs in a store whose server runs."""
    env = environment(NTRADER_HOME=str(home), PYTHONPATH=str(source))
    run(_ntrader("db start"), env)
    try:
        for period in (5, 10):
            run([*_ntrader("run --strategy sma -p"), f"fast_period={period}"], env)
        yield env
    finally:
        run(_ntrader("db stop"), env)


def _ntrader(command: str) -> list[str]:
    return [sys.executable, "-m", "ntrader", *command.split()]


def _is_known(name: str, env: Mapping[str, str]) -> bool:
    try:
        run(_ntrader(f"{name.split()[0]} --help"), env)
    except RuntimeError:
        return False
    return True


def _traced(name: str, env: Mapping[str, str]) -> Traced:
    command = [sys.executable, "-X", "importtime", *_ntrader(name)[1:]]
    started = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    wall = (time.perf_counter() - started) * 1e3
    return Traced(wall, read_import_times(done.stderr))


def read_import_times(text: str) -> dict[str, float]:
    """Return the milliseconds that each module took to load, without those it loaded."""
    found = {}
    for line in text.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            found[rest.partition("|")[2].strip()] = int(own) / 1e3
    return found


def by_package(modules: Mapping[str, float]) -> dict[str, float]:
    """Return the sums of what the modules of a package took."""
    sums: dict[str, float] = {}
    for module, milliseconds in modules.items():
        group = _group(module.partition(".")[0])
        sums[group] = sums.get(group, 0.0) + milliseconds
    return sums


def _group(top: str) -> str:
    if top in sys.stdlib_module_names:
        return STDLIB
    package = BELONGS.get(top, top)
    return package if package in PACKAGES else OTHERS


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Give the sources of a commit in a directory of their own."""
    with tempfile.TemporaryDirectory(prefix="ntrader-before-") as directory:
        tree = str(Path(directory) / "tree")
        _git("worktree", "add", "--detach", tree, commit)
        try:
            yield Path(tree) / "src"
        finally:
            _git("worktree", "remove", "--force", tree)


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True)


def markdown(sides: Sequence[Mapping[str, StartUp]]) -> str:
    """Return a table of milliseconds: a column for each command, before → after if both are."""
    columns = [
        (name, [side[name].cells if name in side else {} for side in sides])
        for name in COMMANDS
        if any(name in side for side in sides)
    ]
    rows = [["ms", *(f"`{name}`" for name, _ in columns)], ["---"] * (len(columns) + 1)]
    for line in LINES:
        values = [" → ".join(side.get(line, NONE) for side in each) for _, each in columns]
        if any(side.keys() & {line} for _, each in columns for side in each):
            rows.append([line, *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", metavar="COMMIT", help="also measure these sources")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as directory,
        ExitStack() as stack,
    ):
        home = Path(directory)
        home.chmod(0o711)  # root's server runs as another user
        sides = []
        if given.before is not None:
            before = stack.enter_context(checkout(given.before))
            sides.append(stack.enter_context(store(home / "before", before)))
        sides.append(stack.enter_context(store(home / "after", ROOT / "src")))
        print(markdown(measure(sides, rounds=given.rounds)))


if __name__ == "__main__":
    unwind_when_terminated()
    main()
