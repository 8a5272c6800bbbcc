"""Reading a file of bars, with all of them in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntrader.engine.bar_files import read_bars
from ntrader.engine.bars import Bars, joined


@dataclass(frozen=True, slots=True)
class WholeFile:
    """The bars of a file, and what was told of them."""

    bars: Bars
    warnings: tuple[str, ...]


def read_whole(path: Path, **options: Any) -> WholeFile:
    """Return what `ntrader.engine.bar_files.read_bars` reads; options and errors are its."""
    file = read_bars(path, **options)
    return WholeFile(joined(file.bars.parts()), file.warnings)
