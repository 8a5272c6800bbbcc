"""Kept sources: a strategy's code as it was when a run used it, loaded again."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from ntrader.domain.sources import StrategySource
from ntrader.engine.strategies.definition import StrategyDefinition
from ntrader.engine.strategies.registry import strategy_in_file
from ntrader.errors import DamagedError


def load_kept(source: StrategySource, path: str) -> StrategyDefinition:
    """Return the strategy of a kept source.

    The files are written to a private directory that is removed when the process ends. `path` is
    the strategy's original `file.py:Class`, which the definition goes on naming.

    Raises:
        DamagedError: the files cannot be laid out, or the code does not load to the same identity.
        NotFoundError: the source has no such class.
        InvalidConfigError: the code cannot be imported, or the class is no strategy.
    """
    directory = Path(tempfile.mkdtemp(prefix="ntrader-strategy-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    _lay_out(source, directory)
    class_name = path.rpartition(":")[2]
    definition = strategy_in_file(directory / source.entry, class_name, known_as=path)
    if definition.spec.source_hash != source.hash:
        raise DamagedError(
            f"The kept code of {path} no longer imports what it did.",
            hint=_imports_hint(source, definition),
        )
    return definition


def _lay_out(source: StrategySource, directory: Path) -> None:
    try:
        for name, content in source.files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedError(
            f"The kept source has a file where it needs a directory: {error.filename}."
        ) from error


def _imports_hint(source: StrategySource, definition: StrategyDefinition) -> str:
    loaded = {} if definition.source.code is None else definition.source.code.digests
    different = sorted(dict(loaded.items() ^ source.digests.items()))
    return f"Different now: {', '.join(different)}. What it imports depends on what is installed."
