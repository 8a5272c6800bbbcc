"""Staleness: runs whose data, strategy code or engine is no longer what it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import ntrader
from ntrader.domain.pins import Pin
from ntrader.services.environment import engine_version

if TYPE_CHECKING:
    from ntrader.domain.runs import BacktestRun

_PACKAGE = "ntrader."


def stale_pins(runs: Sequence[BacktestRun]) -> Mapping[UUID, tuple[Pin, ...]]:
    """Return what each run rests on and has changed since; runs that still hold are left out.

    - data: a newer version of the dataset existed under its name when the run was read;
    - strategy code: the file, or a module of the user's that it imports, has changed or gone;
      of a built-in strategy, its module. An installed package's strategy is not looked at;
    - engine: another version is installed.

    Nothing is executed and no data are read: it is for lists.
    """
    hash_of = cache(_sha256)
    found = {run.run_id: tuple(_changed(run, hash_of)) for run in runs}
    return {run_id: pins for run_id, pins in found.items() if pins}


def _changed(run: BacktestRun, hash_of: Callable[[str], str | None]) -> Iterator[Pin]:
    if run.dataset is not None and run.dataset.outdated:
        yield Pin.DATA
    if _code_has_changed(run, hash_of):
        yield Pin.STRATEGY_CODE
    if _engine_has_changed(run):
        yield Pin.ENGINE


def _engine_has_changed(run: BacktestRun) -> bool:
    recorded = _environment(run).get("engine")
    return isinstance(recorded, dict) and recorded.get("version") != engine_version()


def _code_has_changed(run: BacktestRun, hash_of: Callable[[str], str | None]) -> bool:
    path = str(run.snapshot["strategy_path"])
    file, _, _ = path.rpartition(":")
    if file.startswith(_PACKAGE):
        recorded_hash: str = run.config["strategy"]["source_hash"]
        return hash_of(_file_of(file)) != recorded_hash
    recorded = _environment(run).get("strategy_files")
    if not file.endswith(".py") or not isinstance(recorded, dict):
        return False
    if run.imported is not None:
        # The path is another machine's, and whoever made the file chose it.
        return False
    directory = os.path.dirname(file)
    return any(
        hash_of(os.path.join(directory, name)) != digest for name, digest in recorded.items()
    )


def _environment(run: BacktestRun) -> dict[str, Any]:
    recorded = run.metadata.get("environment")
    return recorded if isinstance(recorded, dict) else {}


@cache
def _file_of(module: str) -> str:
    """Return the file of a module of ours."""
    return os.path.join(os.path.dirname(ntrader.__file__), *module.split(".")[1:]) + ".py"


def _sha256(file: str) -> str | None:
    """Return the hash of a file, or None where there is none to read."""
    try:
        now = os.stat(file)
        return _hash_of_state(file, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    except OSError:
        return None


@lru_cache(maxsize=1_024)
def _hash_of_state(file: str, *_state: int) -> str:
    """Return the hash of a file in this state: a service asks for it with every list."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
