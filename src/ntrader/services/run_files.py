"""The files of a run: equity curve, fills and trades as Parquet tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ntrader.domain.results import EnhancedBacktestResult, EquityCurve, Fill, Side, Trade
from ntrader.errors import NotFoundError

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.storage.artifacts import ArtifactStore

EQUITY_FILE = "equity.parquet"
FILLS_FILE = "fills.parquet"
TRADES_FILE = "trades.parquet"


class Tables(Protocol):
    """Where tables are read from: the artifact store, or a file that is being imported."""

    def read_table(self, artifact: Artifact) -> Mapping[str, Any]:
        """Return the columns of a table."""


def write_run_files(
    artifacts: ArtifactStore, result: EnhancedBacktestResult
) -> tuple[Artifact, ...]:
    """Write the files of a result and return their rows."""
    fills, trades = result.fills, result.trades
    tables: dict[str, dict[str, Any]] = {
        EQUITY_FILE: {
            "time": result.equity.times.view("datetime64[ns]"),
            "equity": result.equity.values,
        },
        FILLS_FILE: {
            "time": [fill.time for fill in fills],
            "side": [fill.side.value for fill in fills],
            "quantity": [fill.quantity for fill in fills],
            "price": [fill.price for fill in fills],
            "fee": [fill.fee for fill in fills],
            "at_close": [fill.at_close for fill in fills],
        },
        TRADES_FILE: {
            "opened_at": [trade.opened_at for trade in trades],
            "closed_at": [trade.closed_at for trade in trades],
            "quantity": [trade.quantity for trade in trades],
            "entry_price": [trade.entry_price for trade in trades],
            "exit_price": [trade.exit_price for trade in trades],
            "fees": [trade.fees for trade in trades],
            "profit": [trade.profit for trade in trades],
            "return": [trade.return_ for trade in trades],
        },
    }
    run_id = result.metadata.run_id
    return tuple(
        artifacts.write_table(run_id, filename, columns) for filename, columns in tables.items()
    )


def read_equity(artifacts: Tables, rows: Sequence[Artifact]) -> EquityCurve:
    """Read the equity curve of a run.

    Raises:
        NotFoundError: the file is missing.
        DamagedError: the file is not what was written.
    """
    columns = _columns(artifacts, rows, EQUITY_FILE)
    return EquityCurve(columns["time"].view("int64"), columns["equity"])


def read_fills(artifacts: Tables, rows: Sequence[Artifact]) -> tuple[Fill, ...]:
    """Read the fills of a run; errors as for `read_equity`."""
    return tuple(
        Fill(**{**row, "side": Side(row["side"]), "at_close": bool(row["at_close"])})
        for row in _rows(_columns(artifacts, rows, FILLS_FILE))
    )


def read_trades(artifacts: Tables, rows: Sequence[Artifact]) -> tuple[Trade, ...]:
    """Read the closed trades of a run; errors as for `read_equity`."""
    table = _columns(artifacts, rows, TRADES_FILE)
    return tuple(
        Trade(**{("return_" if key == "return" else key): value for key, value in row.items()})
        for row in _rows(table)
    )


def _columns(artifacts: Tables, rows: Sequence[Artifact], filename: str) -> Mapping[str, Any]:
    for artifact in rows:
        if artifact.filename == filename:
            return artifacts.read_table(artifact)
    raise NotFoundError(
        f"The run has no file {filename}.", hint="It was saved without one; run it again."
    )


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
