"""Columns: what a list of runs can tell of each, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ntrader.domain.identity import canonical_json
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun
from ntrader.errors import UsageError

PARAMETER = "parameters."
"""What the column of a single parameter begins with: `parameters.fast_period`."""

_ABOUT: Mapping[str, Callable[[BacktestRun], Any]] = {
    "run_id": lambda run: str(run.run_id),
    "status": lambda run: run.status.value,
    "created_at": lambda run: run.created_at,
    "duration_seconds": lambda run: run.duration_seconds,
    "strategy": lambda run: run.strategy_name,
    "version": lambda run: run.config["strategy"]["version"],
    "type": lambda run: run.strategy_type,
    "parameters": lambda run: canonical_json(run.parameters),
    "symbol": lambda run: run.symbol,
    "venue": lambda run: run.config["instrument"]["venue"],
    "timeframe": lambda run: run.timeframe,
    "start": lambda run: run.start,
    "end": lambda run: run.end,
    "dataset": lambda run: None if run.dataset is None else run.dataset.name,
    "initial_capital": lambda run: run.initial_capital,
    "currency": lambda run: run.config["instrument"]["currency"],
    "equity_fraction": lambda run: float(run.config["equity_fraction"]),
    "fee": lambda run: float(run.config["fee"]),
    "fill": lambda run: run.config["fill"],
    "slippage": lambda run: float(run.config["slippage"]),
    "seed": lambda run: run.config["seed"],
    "tags": lambda run: " ".join(run.tags),
    "note": lambda run: run.note,
    "fingerprint": lambda run: run.fingerprint,
    "result_digest": lambda run: run.result_digest,
    "error": lambda run: None if run.error is None else run.error.message,
}
COLUMNS = (*_ABOUT, *METRICS)


def parse_columns(text: str) -> tuple[str, ...]:
    """Read names between commas, each a column or `parameters.NAME`.

    Raises:
        UsageError: there is no such column, or one comes twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    for index, name in enumerate(names):
        if name not in COLUMNS and not (name.startswith(PARAMETER) and name != PARAMETER):
            raise UsageError(
                f"There is no column {name!r}.",
                hint=f"Columns are {', '.join(COLUMNS)}, and {PARAMETER}NAME.",
            )
        if name in names[:index]:
            raise UsageError(f"The column {name} is named twice.", hint="Name each once.")
    return names


def cells(run: BacktestRun, columns: Sequence[str]) -> list[Any]:
    """Return what the columns hold of a run; None is what it has not."""
    return [_cell(run, name) for name in columns]


def _cell(run: BacktestRun, name: str) -> Any:
    if name in _ABOUT:
        return _ABOUT[name](run)
    if name.startswith(PARAMETER):
        return run.parameters.get(name.removeprefix(PARAMETER))
    return None if run.metrics is None else getattr(run.metrics, name)
