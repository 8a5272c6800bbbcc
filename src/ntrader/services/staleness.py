"""Staleness: runs whose data, strategy code or engine is no longer what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import ntrader
from ntrader.domain.pins import Pin
from ntrader.services.environment import engine_version

if TYPE_CHECKING:
    from ntrader.domain.runs import BacktestRun
    from ntrader.services.workspace import Workspace

_PACKAGE = "ntrader."


async def stale_pins(
    workspace: Workspace, runs: Sequence[BacktestRun]
) -> Mapping[UUID, tuple[Pin, ...]]:
    """Return what each run rests on and has changed since; runs that still hold are left out.

    - data: a newer version of the dataset exists under its name;
    - strategy code: the file, or a module of the user's that it imports, has changed or gone;
      of a built-in strategy, its module. An installed package's strategy is not looked at;
    - engine: another version is installed.

    Nothing is executed and no data are read: it is for lists.
    """
    store = await workspace.store()
    hashes = {run.dataset.content_hash for run in runs if run.dataset is not None}
    outdated = await store.datasets.outdated(hashes) if hashes else frozenset()
    hash_of = cache(_sha256)
    found = {}
    for run in runs:
        states = {
            Pin.DATA: run.dataset is not None and run.dataset.content_hash in outdated,
            Pin.STRATEGY_CODE: _code_has_changed(run, hash_of),
            Pin.ENGINE: _engine_has_changed(run),
        }
        changed = tuple(pin for pin, stale in states.items() if stale)
        if changed:
            found[run.run_id] = changed
    return found


def _engine_has_changed(run: BacktestRun) -> bool:
    recorded = _environment(run).get("engine")
    return isinstance(recorded, dict) and recorded.get("version") != engine_version()


def _code_has_changed(run: BacktestRun, hash_of: Callable[[Path], str | None]) -> bool:
    path = str(run.snapshot["strategy_path"])
    file, _, _ = path.rpartition(":")
    if file.startswith(_PACKAGE):
        module = Path(ntrader.__file__).parent.joinpath(*file.split(".")[1:]).with_suffix(".py")
        recorded_hash: str = run.config["strategy"]["source_hash"]
        return hash_of(module) != recorded_hash
    recorded = _environment(run).get("strategy_files")
    if not file.endswith(".py") or not isinstance(recorded, dict):
        return False
    if run.imported is not None:
        # The path is another machine's, and whoever made the file chose it.
        return False
    directory = Path(file).parent
    return any(hash_of(directory / name) != digest for name, digest in recorded.items())


def _environment(run: BacktestRun) -> dict[str, Any]:
    recorded = run.metadata.get("environment")
    return recorded if isinstance(recorded, dict) else {}


def _sha256(file: Path) -> str | None:
    """Return the hash of a file, or None where there is none to read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
