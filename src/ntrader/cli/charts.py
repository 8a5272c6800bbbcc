"""A chart of the equity curve in text.

Written here because the terminal plotting packages are large, seldom released or load for longer
than a whole command may take; it is a screenful of code (see specs/terminal-output.md).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"


def downsample(values: "NDArray[np.float64]", columns: int) -> list[float]:
    """Return `columns` values: of each stretch of `values` the last, and so the newest."""
    if len(values) <= columns:
        return [float(value) for value in values]
    return [float(values[(column + 1) * len(values) // columns - 1]) for column in range(columns)]


def area_rows(values: Sequence[float], height: int, *, ascii_only: bool = False) -> list[str]:
    """Return `height` lines, top first, that draw `values` as filled columns of eighths."""
    ramp = _ASCII if ascii_only else _EIGHTHS
    low, high = min(values), max(values)
    span = high - low
    # A flat series is drawn as a line through the lowest row.
    levels = [
        1 if span == 0 else 1 + round((value - low) / span * (height * 8 - 1)) for value in values
    ]
    rows = []
    for row in reversed(range(height)):
        filled = (min(max(level - row * 8, 0), 8) for level in levels)
        rows.append("".join(ramp[part] for part in filled))
    return rows


def equity_chart(
    values: "NDArray[np.float64]",
    *,
    width: int,
    labels: tuple[str, str],
    height: int = 6,
    ascii_only: bool = False,
) -> "Text":
    """Return the curve as text, `width` columns wide: highest and lowest value, first and last day.

    `values` are the equity in currency, `labels` what to write below the left and the right
    end, where there is room.
    """
    from rich.text import Text

    low, high = float(values.min()), float(values.max())
    scale = [f"{high:,.0f}", f"{low:,.0f}"]
    margin = max(map(len, scale)) + 1
    points = downsample(values, max(width - margin - 1, 10))
    rows = area_rows(points, height, ascii_only=ascii_only)
    text = Text(no_wrap=True)
    for index, row in enumerate(rows):
        mark = scale[0] if index == 0 else scale[1] if index == height - 1 else ""
        text.append(f"{mark:>{margin - 1}} ", style="dim")
        text.append(row, style="cyan")
        text.append("\n")
    gap = len(points) - len(labels[0]) - len(labels[1])
    if gap > 0:
        text.append(f"{' ' * margin}{labels[0]}{' ' * gap}{labels[1]}", style="dim")
    else:
        text.rstrip()
    return text
