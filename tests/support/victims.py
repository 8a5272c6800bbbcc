"""Commands that are killed, the moments at which they are, and what is counted of it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from support.commands import Result

LAUNCHER = Path(__file__).with_name("stepping.py")
PATIENT_SECONDS = 90
"""After which a command hangs. A server that is hung waits for 75 s at most."""

MOST_SECONDS = 3.0
"""The latest moment of a fault by the clock; most commands have ended before it."""

KILL = signal.SIGKILL
SIGNALS = (KILL, KILL, KILL, KILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class Tally:
    """What all kills of a session came to."""

    faults_injected: int = 0
    runs_started: int = 0
    runs_accounted_for: int = 0
    runs_lost: int = 0
    runs_twice: int = 0
    servers_left: int = 0
    hangs: int = 0
    failures: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        counted = [each.name for each in fields(self) if each.name != "failures"]
        return [f"{name.replace('_', ' '):<20}{getattr(self, name):>7,}" for name in counted]

    def account(self, *, started: bool, saved: int) -> None:
        """Count a run that was or was not begun, and how often it is saved."""
        if not started and not saved:
            return
        self.runs_started += 1
        self.runs_accounted_for += saved == 1
        self.runs_lost += saved == 0
        self.runs_twice += saved > 1


@dataclass(frozen=True, slots=True)
class Fault:
    """A signal, at a step of the command or so many seconds after its start."""

    number: signal.Signals
    step: int = 0
    seconds: float | None = None

    @classmethod
    def at_random(cls, chance: random.Random, steps: int) -> "Fault":
        if chance.random() < 0.25:
            return cls(KILL, seconds=chance.uniform(0, MOST_SECONDS))
        return cls(chance.choice(SIGNALS), step=chance.randint(1, steps))

    def __str__(self) -> str:
        when = f"step {self.step}" if self.step else f"{self.seconds:.3f} s"
        return f"{self.number.name} at {when}"


class Victim:
    """A command that runs in a process of its own, and is to end before it would."""

    def __init__(
        self, arguments: Sequence[object], fault: Fault, directory: Path, **environment: str
    ) -> None:
        self.arguments = tuple(map(str, arguments))
        self.fault = fault
        directory.mkdir(parents=True, exist_ok=True)
        self._steps, self._out, self._err = (directory / name for name in ("steps", "out", "err"))
        self._began = time.monotonic()
        self._sent = False
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, LAUNCHER, str(fault.step), str(+fault.number), *self.arguments],
                cwd=directory,
                env={**os.environ, **environment, "STEPS": str(self._steps)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __str__(self) -> str:
        return f"{self.fault}: ntrader {' '.join(self.arguments)}"

    def attend(self) -> bool:
        """Send the signal if it is time for it; return whether the command has ended."""
        if self.process.poll() is not None:
            return True
        late = time.monotonic() - self._began
        if self.fault.seconds is not None and late >= self.fault.seconds and not self._sent:
            self.process.send_signal(self.fault.number)
            self._sent = True
        return False

    @property
    def hangs(self) -> bool:
        return self.process.poll() is None and time.monotonic() - self._began > PATIENT_SECONDS

    @property
    def was_hit(self) -> bool:
        return self._sent or (self._steps.exists() and self._steps.read_text() == "hit")

    @property
    def result(self) -> Result:
        return Result(self.process.returncode, self._out.read_text(), self._err.read_text())

    @property
    def complaint(self) -> str | None:
        """What is wrong with how the command ended: it knew of no bug, and was hit or succeeded."""
        done, number = self.result, self.fault.number
        if "Traceback" in done.stderr:
            return f"{self}: {done}"
        if done.exit_code == 0 or (self.was_hit and done.exit_code in (-number, 128 + number, 1)):
            return None
        return f"{self}: {done}"

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def see_through(victims: Sequence[Victim], tally: Tally) -> None:
    """Wait until all have ended, each hit at its moment, and count the faults and the hangs."""
    try:
        while not all([victim.attend() for victim in victims]):
            if hanging := [victim for victim in victims if victim.hangs]:
                tally.hangs += len(hanging)
                tally.failures += [f"it hangs: {victim}" for victim in hanging]
                break
            time.sleep(0.005)
    finally:
        for victim in victims:
            victim.end()
    tally.faults_injected += sum(victim.was_hit for victim in victims)
    tally.failures += [complaint for victim in victims if (complaint := victim.complaint)]


def servers_of(home: Path) -> tuple[int, ...]:
    """Return the processes that work below a home or were started with a path in it."""
    return tuple(pid for pid in _pids() if any(str(home) in text for text in _traces(pid)))


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _traces(pid: int) -> Iterable[str]:
    about = Path(f"/proc/{pid}")
    try:
        yield os.readlink(about / "cwd")
        yield (about / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        # It has ended, or is no process of this user.
        return


def end_servers_of(home: Path) -> None:
    """End what is left, so that a failed test leaves nothing."""
    for pid in servers_of(home):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
