"""The README's commands: finding them, running them, and comparing what they print.

With UPDATE_README=1 in the environment the test writes the real output into the README first.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
ANYTHING = "..."
USERS_HOME = "/home/quant/.local/share/ntrader"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = (
    # A whole id, a short one, instants, durations, process ids and places of this machine.
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"^[0-9a-f]{8}(?=  2\d{3}-)", re.MULTILINE), "<short>"),
    (re.compile(r"(?<=^[A-J]  )[0-9a-f]{8}\b", re.MULTILINE), "<short>"),
    (re.compile(r"(?<=^Run )[0-9a-f]{8}(?= has)", re.MULTILINE), "<short>"),
    (re.compile(r"(?<=ntrader show )[0-9a-f]{8}\b"), "<short>"),
    (re.compile(r"(?<=[Rr]un )[0-9a-f]{8}\b"), "<short>"),
    (re.compile(r"\b20[2-9]\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "<now>"),
    (re.compile(r"took [\d.]+ s"), "took <seconds>"),
    (re.compile(r"(?<=host=)\S+?(?=/postgres/run&)"), "<home>"),
    (re.compile(r"[^\s(]*/(?=breakout\.py)"), ""),
    (re.compile(r'(?<="source_hash": ")[0-9a-f]{64}'), "<hash>"),
    (re.compile(r"(?<=Fingerprint  )[0-9a-f]{64}"), "<hash>"),
    (re.compile(r" +$", re.MULTILINE), ""),
)

type Shell = Callable[[str], str]


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return [body for found, body in _FENCE.findall(README.read_text()) if found == language]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Give each command of a console block with the output that is written below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def normal(text: str) -> str:
    """Return output with what differs from run to run named instead of written."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text.strip("\n")


def matches(written: str, printed: str) -> bool:
    """Compare output; a line of three dots stands for any lines."""
    expected = [re.escape(line) for line in normal(written).splitlines()]
    anything = re.escape(ANYTHING)
    pattern = "\n".join(r"(?:.*\n?)*" if line == anything else line for line in expected)
    return re.fullmatch(pattern, normal(printed)) is not None


def rewrite(run: Shell) -> str:
    """Return the README with the real output of each command that has none but three dots."""

    def with_output(match: re.Match[str]) -> str:
        if match[1] != "console":
            return match[0]
        shown = []
        for command, output in commands(match[2]):
            printed = re.sub(r"(?<=host=)\S+?(?=/postgres/run&)", USERS_HOME, run(command))
            kept = output if output.strip() == ANYTHING else f"{without_padding(printed)}\n"
            shown.append(f"$ {command}\n{kept if kept.strip() else ''}")
        return f"```console\n{''.join(shown)}```"

    return _FENCE.sub(with_output, README.read_text())


def without_padding(printed: str) -> str:
    """Return output without the blanks that fill a table's lines, and empty lines at its end."""
    return re.sub(r" +$", "", printed, flags=re.MULTILINE).strip("\n")


def arguments(command: str) -> tuple[list[str], str | None]:
    """Return what follows `ntrader` in a command, and the file that its output goes to."""
    program, *rest = shlex.split(command)
    assert program == "ntrader", command
    if ">" in rest:
        return rest[: rest.index(">")], rest[rest.index(">") + 1]
    return rest, None
