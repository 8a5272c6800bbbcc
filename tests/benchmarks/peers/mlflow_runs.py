"""The same work with MLflow: runs saved and found again, on a PostgreSQL server.

    python -m venv peers && peers/bin/pip install -r tests/benchmarks/peers/requirements.txt
    peers/bin/python tests/benchmarks/peers/mlflow_runs.py DATABASE_URL [--runs 10000]

The database must be empty. It prints one JSON object: seconds by name, and bytes a run.
"""

import argparse
import json
import logging
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]
from mlflow.entities import Metric, Param, RunTag  # type: ignore[import-not-found,unused-ignore]
from mlflow.tracking import MlflowClient  # type: ignore[import-not-found,unused-ignore]
from sqlalchemy import create_engine, text

LIMIT = 20
DEEP = 400
STRATEGIES = ("sma", "rsi", "momentum", "own_0", "own_1", "own_2", "own_3", "own_4")
METRICS = (
    "sharpe_ratio",
    "total_return",
    "cagr",
    "sortino_ratio",
    "max_drawdown",
    "calmar_ratio",
    "volatility",
    "total_trades",
    "winning_trades",
    "losing_trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "avg_win",
    "avg_loss",
    "total_fees",
    "exposure",
    "final_balance",
)


def save(client: Any, experiment: str, chance: random.Random) -> str:
    """Save one run with its parameters, tags and metrics."""
    now = int(time.time() * 1_000)
    tags = {
        "strategy": chance.choice(STRATEGIES),
        "symbol": f"SYM{chance.randrange(100):03d}",
        "timeframe": "1d",
        "fingerprint": f"{chance.getrandbits(256):064x}",
        "result_digest": f"{chance.getrandbits(256):064x}",
    }
    parameters = {
        "fast_period": chance.randrange(5, 55),
        "slow_period": chance.randrange(60, 200),
        "threshold": round(chance.random(), 3),
        "initial_capital": 100_000,
        "fee": 0.001,
        "slippage": 0,
        "seed": 1,
        "fill": "next-open",
    }
    run_id: str = client.create_run(experiment, start_time=now).info.run_id
    client.log_batch(
        run_id,
        metrics=[Metric(name, chance.gauss(0, 1), now, 0) for name in METRICS],
        params=[Param(name, str(value)) for name, value in parameters.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    client.set_terminated(run_id)
    return run_id


def timed(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return what `rounds` took, after one that is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return {"median": median(taken), "best": min(taken)}


def reading(client: Any, experiment: str, run_ids: list[str]) -> dict[str, Callable[[], Any]]:
    """Return the questions, by the names that ntrader's benchmark gives them."""

    def found(filter_string: str = "", order: str = "metrics.sharpe_ratio DESC") -> Any:
        return client.search_runs([experiment], filter_string, max_results=LIMIT, order_by=[order])

    def deep() -> Any:
        from mlflow.utils.search_utils import (  # type: ignore[import-not-found,unused-ignore]
            SearchUtils,
        )

        token = SearchUtils.create_page_token(DEEP * LIMIT)
        return client.search_runs([experiment], max_results=LIMIT, page_token=token)

    return {
        "get one by id": lambda: client.get_run(run_ids[0]),
        "compare 10 runs": lambda: [client.get_run(run_id) for run_id in run_ids[:10]],
        "list 20 newest": lambda: found(order="attributes.start_time DESC"),
        "filter by strategy, order by Sharpe": lambda: found("tags.strategy = 'sma'"),
        "filter by a parameter, order by Sharpe": lambda: found("params.fast_period = '10'"),
        f"page {DEEP} deep, by cursor": deep,
    }


def measure(url: str, *, runs: int, rounds: int) -> dict[str, Any]:
    """Fill the database and measure."""
    client = MlflowClient(tracking_uri=url)
    experiment = client.create_experiment("backtests")
    chance = random.Random(1)
    started = time.perf_counter()
    run_ids = [save(client, experiment, chance) for _ in range(runs)]
    seconds = time.perf_counter() - started
    engine = create_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        size = connection.scalar(
            text(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
                " WHERE c.relname IN ('runs', 'metrics', 'latest_metrics', 'params', 'tags')"
                " AND c.relkind = 'r'"
            )
        )
    engine.dispose()
    questions = reading(client, experiment, run_ids)
    if runs <= DEEP * LIMIT:
        questions.popitem()
    return {
        "version": mlflow.__version__,
        "runs": runs,
        "runs_per_second": runs / seconds,
        "bytes_per_run": float(size) / runs,
        "seconds": {
            "save one run": timed(lambda: save(client, experiment, chance), rounds),
            **{name: timed(ask, rounds) for name, ask in questions.items()},
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    url = given.url.replace("postgresql://", "postgresql+psycopg2://", 1)
    print(json.dumps(measure(url, runs=given.runs, rounds=given.rounds)))  # noqa: T201


if __name__ == "__main__":
    main()
