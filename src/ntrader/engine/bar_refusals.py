"""Refusals: what is wrong with a file, in few words and by its lines."""

from contextlib import suppress

import numpy as np

from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_columns import Table
from ntrader.engine.bars import Fault, Integers
from ntrader.errors import InvalidDataError, UsageError

SHOWN = 5
"""Lines that a refusal names."""

_SHOWN_OF_A_LINE = 3
_LONGEST_LIST = 350
_MINUTE = 60_000_000_000


def refusal(table: Table, faults: list[Fault], hint: str | None) -> InvalidDataError:
    """Return the error that names the first faults by their lines, in few words."""
    rows: dict[int, list[str]] = {}
    for fault in sorted(faults, key=lambda fault: fault.row):
        rows.setdefault(fault.row, []).append(fault.text)
    lines: list[str] = []
    for row in list(rows)[:SHOWN]:
        line = f"{table.place(row)}: {_listed(rows[row])}"
        if lines and sum(map(len, lines)) + len(line) > _LONGEST_LIST:
            break
        lines.append(line)
    if len(rows) > len(lines):
        lines.append("and more")
    told = "; ".join(lines)
    return InvalidDataError(
        f"{table.name} is not clean market data. {told[0].upper()}{told[1:]}.",
        hint=hint or "Correct the file and import it again; nothing was stored.",
    )


def _listed(texts: list[str]) -> str:
    more = len(texts) - _SHOWN_OF_A_LINE
    return ", ".join(texts[:_SHOWN_OF_A_LINE]) + (f" and {more} more" if more > 0 else "")


def descending(table: Table) -> str:
    """Return the hint for a file that runs from the newest bar to the oldest."""
    return (
        "The file runs from the newest bar to the oldest: sort it by time, oldest first"
        f"{_reversing(table.above)}."
    )


def _reversing(above: int | None) -> str:
    """Return the command that turns the bars of a text file around, `above` lines staying."""
    if above is None:
        return ""
    # `grep .` ends the last line, which `tac` would otherwise join with the one before.
    bars = f"tail -n +{above + 1} FILE | grep . | tac"
    head = f"head -n {above} FILE; " if above else ""
    return f", as `({head}{bars}) > sorted.csv` does"


def check_steps(table: Table, times: Integers, timeframe: Timeframe) -> None:
    """Refuse bars of a finer timeframe.

    Raises:
        InvalidDataError: most of them follow sooner than one timeframe on the one before.
    """
    steps = np.abs(np.diff(times))
    steps = steps[steps > 0]
    closer = int((steps < timeframe.nanoseconds).sum())
    if closer * 2 > len(steps):
        why = f"{closer:,} of {len(steps):,} follow sooner than that on the one before"
        raise _other_timeframe(table, timeframe, why, _fitting(steps))


def told_steps(table: Table, times: Integers, timeframe: Timeframe) -> list[str]:
    """Say where the distances between bars are not what the timeframe promises.

    Raises:
        InvalidDataError: three bars or more, and no two are one timeframe apart.
    """
    steps = np.diff(times)
    told = []
    if closer := int((steps < timeframe.nanoseconds).sum()):
        are = "bar is" if closer == 1 else "bars are"
        told.append(f"{closer:,} {are} closer than {timeframe} to the one before.")
    if steps.size and steps.min() > timeframe.nanoseconds:
        if len(times) > 2:
            raise _other_timeframe(
                table, timeframe, f"no two are {timeframe} apart", _fitting(steps)
            )
        fits = _fitting(steps)
        asked = f" (is --timeframe {fits} meant?)" if fits else ""
        told.append(f"No two bars are {timeframe} apart{asked}.")
    return told


def _other_timeframe(
    table: Table, timeframe: Timeframe, why: str, fits: Timeframe | None
) -> InvalidDataError:
    return InvalidDataError(
        f"{table.name} does not hold {timeframe} bars: {why}.",
        hint=f"Import it with --timeframe {fits}." if fits else "Give its own timeframe.",
    )


def _fitting(steps: Integers) -> Timeframe | None:
    """Return the timeframe that is the usual step between bars, if it is one."""
    minutes, rest = divmod(int(np.sort(steps)[(len(steps) - 1) // 2]), _MINUTE)
    if rest:
        return None
    for unit, length in (("w", 10_080), ("d", 1_440), ("h", 60), ("m", 1)):
        if minutes % length == 0:
            with suppress(UsageError):
                return Timeframe.parse(f"{minutes // length}{unit}")
    return None
