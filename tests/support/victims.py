"""Commands that are killed, the moments at which they are, and what is counted of it."""

import atexit
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from support.commands import Result

PATIENT_SECONDS = 90
"""After which a command hangs. A server that is hung waits for 75 s at most."""

MOST_SECONDS = 1.5
"""The latest moment of a fault by the clock; on an idle machine most commands end before it."""

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
        # Its work is at the end: before it a command only finds its server.
        first = chance.choice((1, steps // 3, steps // 2))
        return cls(chance.choice(SIGNALS), step=chance.randint(first, steps))

    def __str__(self) -> str:
        when = f"step {self.step}" if self.step else f"{self.seconds:.3f} s"
        return f"{self.number.name} at {when}"


class Launcher:
    """The process that forks victims; see `support.stepping`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("stepping.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._unread = b""
        self._ended: dict[int, int] = {}
        atexit.register(self.close)

    def start(self, request: dict[str, Any]) -> int:
        """Start a command, and return its pid."""
        began: list[int] = []
        os.write(self._input, f"{json.dumps(request)}\n".encode())
        while not began:
            began = self._listen(PATIENT_SECONDS)
        return began[0]

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a command, or minus its signal; None while it lives."""
        self._listen(0)
        return self._ended.get(pid)

    def close(self) -> None:
        """End the launcher; its victims have ended."""
        self._process.communicate()

    def _listen(self, seconds: float) -> list[int]:
        """Hear what there is, and return what has begun."""
        output = self._process.stdout
        assert output is not None
        began: list[int] = []
        if not select.select([output], [], [], seconds)[0]:
            return began
        heard = os.read(output.fileno(), 65_536)
        assert heard, "the launcher has ended"
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for pid, what in (line.split() for line in lines):
            if what == b"began":
                # A pid may be used again.
                self._ended.pop(int(pid), None)
                began.append(int(pid))
            else:
                self._ended[int(pid)] = int(what)
        return began

    @property
    def _input(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()


launcher = cache(Launcher)


class Victim:
    """A command that runs in a process of its own, and is to end before it would."""

    def __init__(
        self, arguments: Sequence[object], fault: Fault, directory: Path, **environment: str
    ) -> None:
        self.arguments = tuple(map(str, arguments))
        self.fault = fault
        directory.mkdir(parents=True, exist_ok=True)
        self._note, self._out, self._err = (directory / name for name in ("note", "out", "err"))
        self._sent = False
        self.exit_code: int | None = None
        self._launcher = launcher()
        self._pid = self._launcher.start(
            {
                "arguments": self.arguments,
                "step": fault.step,
                "signal": fault.number,
                "note": str(self._note),
                "out": str(self._out),
                "err": str(self._err),
                "directory": str(directory),
                "environment": {**os.environ, **environment},
            }
        )
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{self.fault}: ntrader {' '.join(self.arguments)}"

    def attend(self) -> bool:
        """Send the signal if it is time for it; return whether the command has ended."""
        if self._has_ended():
            return True
        late = time.monotonic() - self._began
        if self.fault.seconds is not None and late >= self.fault.seconds and not self._sent:
            self._sent = self._send(self.fault.number)
        return False

    def _has_ended(self) -> bool:
        if self.exit_code is None:
            self.exit_code = self._launcher.exit_code(self._pid)
        return self.exit_code is not None

    def _send(self, number: signal.Signals) -> bool:
        try:
            os.kill(self._pid, number)
        except ProcessLookupError:
            return False
        return True

    @property
    def hangs(self) -> bool:
        return not self._has_ended() and time.monotonic() - self._began > PATIENT_SECONDS

    @property
    def was_hit(self) -> bool:
        return self._sent or (self._note.exists() and self._note.read_text() == "hit")

    @property
    def result(self) -> Result:
        assert self.exit_code is not None
        return Result(self.exit_code, self._out.read_text(), self._err.read_text())

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
        """Kill it if it still runs, and wait for its end."""
        while not self._has_ended():
            self._send(KILL)
            time.sleep(0.01)


def see_through(victims: Sequence[Victim], tally: Tally) -> None:
    """Wait until all have ended, each hit at its moment, and count the faults and the hangs."""
    try:
        while sum(victim.attend() for victim in victims) < len(victims):
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
