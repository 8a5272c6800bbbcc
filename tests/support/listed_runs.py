"""Runs that are nasty to list, made up with a seed, and how they get into a store.

What is saved is kept beside as plain values: `support.list_oracle` asks these, and no database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from ntrader.domain.annotations import Annotations
from ntrader.domain.identity import sha256_text
from ntrader.domain.results import BacktestMetadata, Outcome
from ntrader.domain.runs import RunMode
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from support.outcomes import make_dataset, make_failure, make_metrics, make_result, make_spec

SPRING = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

STRATEGIES = ("sma", "rsi", "O'Brien's", "100%_sure", "back\\slash", 'a "b" -- c', "Über ☃")
TYPES = ("trend_following", "own", "100%", "it's")
SYMBOLS = ("IBM", "ibm", "BRK.B", "BTC/USD", "it's", "%", "_", "Ä", "\\")
TIMEFRAMES = ("1d", "1h", "5m")
SOURCES = ("IBM.csv", "", "C:\\data\\%d.csv", "null", "10")
ERRORS = ("ValueError: bar 100", "it's 100% wrong", "", "two\nlines", "Ä \\ 'x' \"y\"")
NOTES = ("look", "it's 100%", "two\nlines", "10", "null", "\\")
TAGS = ("keep", "old", "KEEP", "it's", "100%", "_", "ü", "a\\b", "null", "10", "true")
PATHS = ("ntrader.engine.strategies.sma:Strategy", "/home/it's/100%/a b.py:C", "C:\\x.py:Ü")
DIGESTS = tuple(map(sha256_text, ("one", "two", "three", "four")))

KEYS = ("fast", "slow", "when", "on", "a b", "it's", "a.b", "ünï", "", "0", "in", '100%"', "list")
"""Names of parameters; some runs have some of them."""
DEEP = {"deep": {"x": 10, "when": "2020-02-03", "none": None}, "list": [10, "ten", None, [7.5]]}
VALUES: tuple[Any, ...] = (
    *(10, 10.0, 10.5, 0, -3, 0.1, 1e22, 10**25, 1e-9, True, False, None),
    *("10", "10.0", "1e1", "+10", " 10", "10 ", ".5", "5.", "1_000", "-3", "9" * 200),
    *("", "ten", "Ten", "true", "null", "NaN", "infinity", "now", "it's", "50%", "a\\b", "ü☃", "."),
    *("0.1234567890123456789", "0x1F", "1e", "10abc", "--1", "1e999999"),
    *("2020-02-03", "2020-02-03T00:00:00Z", "2020-02-03T05:30:00+05:30", "2020-02-03 00:00"),
    *("2020-02-03T00:00:00.000001Z", "2020-02-30", "2020-13-01", "2020-", "2020-02-03x"),
    *([], {}, [10], ["10"], DEEP, [{"x": 10}, "ten"]),
)
"""JSON of every type, and texts that look like something else."""

_RATIOS = tuple(map(Decimal, ("0", "1.25", "-0.5", "0.1", "0.00000001", "-0.00000001", "2")))
_FAR = tuple(map(Decimal, ("9999999999.99999999", "-9999999999.99999999", "-5", "-5.00000001")))
_MONEY = tuple(map(Decimal, ("0", "100000", "0.0001", "99999999999999.9999", "2057.6130")))
_FRACTIONS = tuple(map(Decimal, ("0", "0.5", "1", "0.33333333", "0.00000001")))
_PERIODS = tuple(
    (datetime(2012, 1, day, tzinfo=UTC), datetime(2012, 12, day, 23, 59, 59, 999_999, tzinfo=UTC))
    for day in (1, 2, 3)
)


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run as it is saved; `columns` has what `--where` calls its fields, without tags.

    The higher `number` was saved later. The columns of metrics are missing from a failed run.
    """

    number: int
    run_id: UUID
    strategy_id: UUID
    strategy_path: str
    columns: Mapping[str, Any]
    config: Mapping[str, Any]
    metadata: Mapping[str, Any]
    tags: frozenset[str]


def make_runs(chance: Random, count: int) -> list[ListedRun]:
    """Make runs up: few different values of everything, so that most are tied with others."""
    configurations = {
        name: [UUID(int=chance.getrandbits(128)) for _ in range(3)] for name in STRATEGIES
    }
    runs: list[ListedRun] = []
    for number in range(count):
        runs.append(_make_run(chance, number, configurations, runs))
    return runs


def _make_run(
    chance: Random,
    number: int,
    configurations: Mapping[str, Sequence[UUID]],
    earlier: Sequence[ListedRun],
) -> ListedRun:
    strategy = chance.choice(STRATEGIES)
    failed = chance.random() < 0.2
    start, end = chance.choice(_PERIODS)
    original = chance.choice(earlier).run_id if earlier and chance.random() < 0.2 else None
    moved = timedelta(minutes=chance.randrange(12), microseconds=chance.choice((0, 0, 1)))
    columns: dict[str, Any] = {
        "strategy": strategy,
        "type": chance.choice(TYPES),
        "symbol": chance.choice(SYMBOLS),
        "timeframe": chance.choice(TIMEFRAMES),
        "data_source": chance.choice(SOURCES),
        "fingerprint": chance.choice(DIGESTS),
        "result_digest": None if failed else chance.choice(DIGESTS),
        "error": chance.choice(ERRORS) if failed else None,
        "note": chance.choice(NOTES) if chance.random() < 0.3 else None,
        "status": "failed" if failed else "success",
        "mode": chance.choice(("backtest", "backtest", "paper", "live")),
        "reproduced_from": original,
        "created_at": SPRING + moved,
        "start": start,
        "end": end,
        "initial_capital": chance.choice(_MONEY[1:]),
        "duration_seconds": Decimal(chance.choice(("0.5", "1.5", "0", "0.000001", "99999999"))),
        **({} if failed else _metrics(chance)),
    }
    return ListedRun(
        number=number,
        run_id=UUID(int=chance.getrandbits(128)),
        strategy_id=chance.choice(configurations[strategy]),
        strategy_path=chance.choice(PATHS),
        columns=columns,
        config=_config(chance, columns),
        metadata=_metadata(chance, failed=failed),
        tags=frozenset(chance.sample(TAGS, chance.choice((0, 0, 0, 1, 2, 5)))),
    )


def _metrics(chance: Random) -> dict[str, Any]:
    """Make metrics up; half of those that may be undefined are so, all of them without trades."""
    won, lost, even = (
        (0, 0, 0) if chance.random() < 0.3 else (chance.randrange(4) for _ in range(3))
    )
    traded = won + lost + even > 0

    def one_of(values: Sequence[Any]) -> Any:
        return chance.choice(values) if traded and chance.random() < 0.6 else None

    return {
        **{name: one_of((*_RATIOS, *_FAR)) for name in ("sharpe_ratio", "sortino_ratio", "cagr")},
        **{name: one_of(_RATIOS) for name in ("calmar_ratio", "volatility", "profit_factor")},
        "total_return": chance.choice((*_RATIOS, *_FAR, None)),
        "max_drawdown": one_of([-value for value in _FRACTIONS]),
        "max_drawdown_at": one_of([moment for period in _PERIODS for moment in period]),
        "total_trades": won + lost + even,
        "winning_trades": won,
        "losing_trades": lost,
        "break_even_trades": even,
        **{name: one_of(_FRACTIONS) for name in ("win_rate", "exposure")},
        **{name: one_of(_MONEY) for name in ("final_balance", "avg_win", "total_fees")},
        "avg_loss": one_of([-value for value in _MONEY]),
        "expectancy": one_of((*_MONEY, Decimal("-0.0001"))),
    }


def _config(chance: Random, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Make a configuration up, as its snapshot has it; one of another writer has more."""
    names = chance.sample(KEYS, chance.randrange(len(KEYS)))
    return {
        "strategy": {
            "name": columns["strategy"],
            "version": "1.0.0",
            "type": columns["type"],
            "source_hash": DIGESTS[0],
            "parameters": {name: chance.choice(VALUES) for name in names},
        },
        "instrument": {
            "symbol": columns["symbol"],
            "venue": chance.choice(("NYSE", "it's", "10")),
            "kind": "equity",
            "currency": "USD",
            "base_currency": chance.choice((None, "BTC")),
            "price_precision": 2,
            "size_precision": 0,
        },
        "bar_type": "-",
        "timeframe": columns["timeframe"],
        "start": f"{columns['start']:%Y-%m-%dT%H:%M:%S}Z",
        "end": f"{columns['end']:%Y-%m-%dT%H:%M:%S}Z",
        "initial_capital": f"{columns['initial_capital']:f}",
        "equity_fraction": "0.95",
        "fee": chance.choice(("0", "0.001", "0.00000001")),
        "fill": chance.choice(("next-open", "close")),
        "slippage": "0",
        "seed": chance.choice((1, 2, 2**32 - 1)),
        "dataset_hash": DIGESTS[0],
        **({"extra": chance.choice(VALUES)} if chance.random() < 0.5 else {}),
    }


def _metadata(chance: Random, *, failed: bool) -> dict[str, Any]:
    environment = {
        name: chance.choice(VALUES) for name in ("host", "cpus") if chance.random() < 0.7
    }
    imported = {"imported": {"at": "2020-02-03T00:00:00Z", "from": chance.choice(VALUES)}}
    return {
        "environment": environment,
        **(imported if chance.random() < 0.3 else {}),
        **({"bars_done": chance.choice((0, 10, 99))} if failed else {"undefined_metrics": {}}),
    }


async def save_runs(store: Store, runs: Sequence[ListedRun]) -> None:
    """Save them in order, some by COPY and some one by one, with others that are deleted again."""
    dataset = await store.datasets.add(make_dataset())
    for strategy_id, name in {run.strategy_id: run.columns["strategy"] for run in runs}.items():
        added = await store.strategies.add_configuration(
            strategy_id,
            make_spec(name),
            name=f"{name} of {strategy_id}",
            version="1.0.0",
            description="",
            parameters={},
        )
        assert added is not None
    passing = [replace(run, run_id=UUID(int=run.run_id.int ^ 1)) for run in runs[::10]]
    third = len(runs) // 3
    known = {run.run_id: _new_run(run, dataset.id) for run in (*runs, *passing)}
    ordered = [known[run.run_id] for run in runs]
    await store.runs.add_many(ordered[:third])
    await store.runs.add_many([known[run.run_id] for run in passing])
    for one in ordered[third : third + 40]:
        await store.runs.add(
            one.outcome,
            **{name: getattr(one, name) for name in ("dataset_id", "strategy_id", "data_source")},
            reproduced_from=one.reproduced_from,
            mode=one.mode,
        )
    await store.runs.add_many(ordered[third + 40 :])
    await store.runs.delete([run.run_id for run in passing])
    for run in runs[third : third + 40]:
        if run.tags:
            await store.annotations.add_tags(run.run_id, sorted(run.tags))
        if run.columns["note"] is not None:
            await store.annotations.set_note(run.run_id, run.columns["note"])


def _new_run(run: ListedRun, dataset_id: UUID) -> NewRun:
    return NewRun(
        outcome=_outcome(run),
        dataset_id=dataset_id,
        strategy_id=run.strategy_id,
        data_source=run.columns["data_source"],
        reproduced_from=run.columns["reproduced_from"],
        annotations=Annotations(tuple(sorted(run.tags)), run.columns["note"]),
        mode=RunMode(run.columns["mode"]),
    )


@dataclass(frozen=True)
class _AnySnapshot:
    """A snapshot as another program may have written it: with parameters of any JSON type."""

    run: ListedRun

    @property
    def config(self) -> Any:
        of = self.run.columns
        return SimpleNamespace(
            strategy=SimpleNamespace(name=of["strategy"], type=of["type"]),
            instrument=SimpleNamespace(symbol=of["symbol"]),
            **{name: of[name] for name in ("timeframe", "start", "end", "initial_capital")},
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "strategy_path": self.run.strategy_path,
            "config_path": "command line",
            "config": self.run.config,
            "version": "1.0",
        }


def _outcome(run: ListedRun) -> Outcome:
    of = run.columns
    snapshot: Any = _AnySnapshot(run)
    metadata = BacktestMetadata(
        run_id=run.run_id,
        snapshot=snapshot,
        fingerprint=of["fingerprint"],
        started_at=of["created_at"],
        environment=dict(run.metadata["environment"]),
        imported=run.metadata.get("imported"),
    )
    seconds = float(of["duration_seconds"])
    if of["status"] == "failed":
        failure = make_failure(message=of["error"], bars_done=run.metadata["bars_done"])
        return replace(failure, metadata=metadata, duration_seconds=seconds)
    metrics = make_metrics(**{name: of[name] for name in METRIC_NAMES})
    return replace(
        make_result(),
        metadata=metadata,
        metrics=metrics,
        result_digest=of["result_digest"],
        duration_seconds=seconds,
    )


METRIC_NAMES = (
    *("total_return", "final_balance", "cagr", "sharpe_ratio", "sortino_ratio", "max_drawdown"),
    *("max_drawdown_at", "calmar_ratio", "volatility", "total_trades", "winning_trades"),
    *("losing_trades", "break_even_trades", "win_rate", "profit_factor", "expectancy"),
    *("avg_win", "avg_loss", "total_fees", "exposure"),
)
