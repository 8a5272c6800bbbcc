"""Runs side by side: which values are marked, and what keeps a mark away."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from ntrader.cli.comparison_page import kept_points
from ntrader.domain.comparability import GUARDS
from ntrader.domain.comparison import Comparison, GrowthCurve, MetricComparison, compare
from ntrader.domain.identity import sha256_text
from ntrader.domain.ranking import METRIC_RULES, UNBOUNDED
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun
from ntrader.engine import metrics as engine_metrics
from ntrader.errors import UsageError
from support.outcomes import make_dataset, make_failure, make_instrument, make_result

RATIO = "sharpe_ratio"


def run(**changes: Any) -> BacktestRun:
    dataset = make_dataset(changes.get("symbol", "IBM"))
    return BacktestRun.from_outcome(make_result(**changes), dataset)


def failed(**changes: Any) -> BacktestRun:
    return BacktestRun.from_outcome(make_failure(**changes), make_dataset())


def metric(comparison: Comparison, name: str) -> MetricComparison:
    return next(each for each in comparison.metrics if each.name == name)


def best_of(name: str, *runs: BacktestRun) -> list[int]:
    """Return the places of the runs that are marked."""
    marked = metric(compare(runs), name).best
    return [place for place, each in enumerate(runs) if each.run_id in marked]


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("total_return", (0.1, 0.3, -0.2), [1]),
        ("cagr", (0.1, 0.3, -0.2), [1]),
        ("sharpe_ratio", (0.1, -0.3, 0.2), [2]),
        ("max_drawdown", (-0.5, -0.1, -0.3), [1]),
        ("volatility", (0.2, 0.1, 0.3), [1]),
        ("total_fees", (Decimal(5), Decimal(0), Decimal(2)), [1]),
        ("avg_loss", (Decimal(-5), Decimal(-1), Decimal(-2)), [1]),
        ("final_balance", (Decimal(5), Decimal(1), Decimal(9)), [2]),
        ("sharpe_ratio", (1.0, 1.0, 0.5), [0, 1]),
        ("sharpe_ratio", (None, 1.0, 0.5), [1]),
        ("sharpe_ratio", (None, None, 0.5), []),
    ],
)
def test_the_best_value_is_marked_by_the_direction_of_its_metric(
    name: str, values: tuple[Any, ...], best: list[int]
) -> None:
    assert best_of(name, *(run(**{name: value}) for value in values)) == best


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("exposure", (0.1, 0.9)),
        ("winning_trades", (1, 9)),
        ("losing_trades", (1, 9)),
        ("total_trades", (1, 9)),
        ("max_drawdown_at", (datetime(2012, 2, 1, tzinfo=UTC), datetime(2012, 3, 1, tzinfo=UTC))),
    ],
)
def test_what_has_no_better_direction_is_never_marked(name: str, values: tuple[Any, Any]) -> None:
    assert METRIC_RULES[name].better is None
    assert best_of(name, *(run(**{name: value}) for value in values)) == []


def test_every_metric_has_a_rule() -> None:
    assert tuple(METRIC_RULES) == METRICS


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("profit_factor", engine_metrics.NO_LOSSES),
        ("avg_loss", engine_metrics.NO_LOSSES),
        ("calmar_ratio", engine_metrics.NO_DRAWDOWN),
        ("sortino_ratio", engine_metrics.NO_NEGATIVE_RETURNS),
    ],
)
def test_a_profit_without_a_loss_is_not_outdone_by_a_number(name: str, reason: str) -> None:
    flawless = run(**{name: None, "undefined": {name: reason}, "total_return": 0.1})
    idle = run(**{name: None, "undefined": {name: reason}, "total_return": 0.0})
    others = (run(), run())

    assert reason in UNBOUNDED
    assert best_of(name, *others, flawless) == []
    assert best_of(name, *others, idle) == [0, 1]
    assert best_of(RATIO, *others, flawless) != []


def test_deltas_are_to_the_first_run() -> None:
    comparison = compare(
        [
            run(sharpe_ratio=0.3, final_balance=Decimal("10.10"), total_trades=9, win_rate=None),
            run(sharpe_ratio=0.1, final_balance=Decimal("10.30"), total_trades=7),
        ]
    )

    assert metric(comparison, "sharpe_ratio").deltas == (0.0, -0.2)
    assert metric(comparison, "final_balance").deltas == (Decimal(0), Decimal("0.20"))
    assert metric(comparison, "total_trades").deltas == (0, -2)
    assert metric(comparison, "win_rate").deltas == (None, None)
    assert metric(comparison, "max_drawdown_at").deltas == (None, None)


EUR = make_instrument("IBM", currency="EUR").to_dict()
GUARDED: list[tuple[str, dict[str, Any], str]] = [
    ("periods", {"start": datetime(2012, 2, 1, tzinfo=UTC)}, "2012-02-01 to 2012-12-30"),
    ("data", {"dataset_hash": sha256_text("other")}, sha256_text("other")[:16]),
    ("instruments", {"symbol": "GOOG"}, "GOOG.NYSE"),
    ("timeframes", {"timeframe": "1h"}, "1h"),
    ("currencies", {"instrument": EUR}, "EUR"),
    ("fees", {"fee": Decimal("0.002")}, "0.002"),
    ("slippage", {"slippage": Decimal("0.01")}, "0.01"),
    ("fills", {"fill": "close"}, "close"),
]


@pytest.mark.parametrize(("subject", "change", "said"), GUARDED)
def test_runs_that_cannot_be_ranked_are_told_and_nothing_is_marked(
    subject: str, change: dict[str, Any], said: str
) -> None:
    first, other = run(sharpe_ratio=1.0), run(sharpe_ratio=2.0, **change)

    comparison = compare([first, other])

    assert not comparison.marks_any
    (warning,) = comparison.warnings
    assert warning.startswith(f"Different {subject}: ")
    assert f"{said} ({str(other.run_id)[:8]})" in warning
    assert warning.endswith("No best is marked.")


def test_other_data_is_not_said_of_another_instrument() -> None:
    other = run(symbol="GOOG", dataset_hash=sha256_text("other"), timeframe="1h")

    warnings = compare([run(), other]).warnings

    assert [text.split(":")[0] for text in warnings] == [
        "Different instruments",
        "Different timeframes",
    ]


def test_with_other_capital_ratios_are_ranked_and_money_is_not() -> None:
    runs = (
        run(sharpe_ratio=1.0, final_balance=Decimal(5)),
        run(sharpe_ratio=2.0, final_balance=Decimal(9), initial_capital=Decimal(7)),
    )

    assert best_of(RATIO, *runs) == [1]
    assert best_of("final_balance", *runs) == []
    assert best_of("total_fees", *runs) == []
    (warning,) = compare(runs).warnings
    assert warning.startswith("Different initial capital: 100,000.00")
    assert warning.endswith("No best is marked among amounts of money.")


def test_another_engine_is_told_and_ranked() -> None:
    engines = [{"engine": {"name": "nautilus_trader", "version": each}} for each in ("1", "2")]
    runs = [run(environment=engines[0]), run(environment=engines[1], sharpe_ratio=3.0)]

    assert best_of(RATIO, *runs) == [1]
    assert "nautilus_trader 1" in compare(runs).warnings[0]


def test_other_parameters_seeds_and_sizes_are_what_is_compared() -> None:
    other = run(
        strategy="momentum",
        parameters={"lookback": 5},
        seed=9,
        equity_fraction=Decimal("0.5"),
        sharpe_ratio=9.0,
    )

    assert compare([run(), other]).warnings == ()
    assert best_of(RATIO, run(), other) == [1]


def test_money_of_two_currencies_has_no_deltas() -> None:
    comparison = compare([run(), run(instrument=EUR)])

    assert metric(comparison, "final_balance").deltas == (None, None)
    assert metric(comparison, "cagr").deltas == (0.0, 0.0)


def test_a_failed_run_is_told_and_takes_no_part_in_the_ranking() -> None:
    broken = failed(message="ValueError: bar 7\nmore", fee=Decimal("0.5"))
    low, high = run(sharpe_ratio=1.0), run(sharpe_ratio=2.0)

    comparison = compare([low, broken, high])

    assert best_of(RATIO, low, broken, high) == [2]
    assert metric(comparison, RATIO).values == (1.0, None, 2.0)
    assert comparison.warnings == (
        f"Run {str(broken.run_id)[:8]} failed and has no metrics: ValueError: bar 7.",
    )
    assert not compare([low, broken]).marks_any
    assert not compare([failed(), broken]).marks_any


def test_settings_that_differ_are_told_apart_from_those_that_are_shared() -> None:
    comparison = compare(
        [run(parameters={"fast": 1}), run(strategy="rsi", parameters={"slow": 1.0})]
    )

    found = {setting.path: setting.values for setting in comparison.differences}
    assert found == {
        "strategy.name": ("sma", "rsi"),
        "strategy.parameters.fast": (1, None),
        "strategy.parameters.slow": (None, 1.0),
        "strategy.source_hash": (sha256_text("sma"), sha256_text("rsi")),
        "strategy.type": ("trend_following", "mean_reversion"),
    }
    shared = {setting.path for setting in comparison.settings if not setting.differs}
    assert {"fee", "instrument.symbol", "strategy.version"} <= shared


@pytest.mark.parametrize("count", [0, 1, 11])
def test_other_than_two_to_ten_runs_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="2 to 10"):
        compare([run() for _ in range(count)])


def test_a_run_is_not_compared_with_itself() -> None:
    again = run(run_id=UUID("aaaa1111-0000-4000-8000-000000000000"))

    with pytest.raises(UsageError, match="aaaa1111"):
        compare([again, run(), again])


def test_ten_runs_that_all_differ_are_compared() -> None:
    runs = [run(sharpe_ratio=float(place)) for place in range(10)]

    assert best_of(RATIO, *runs) == [9]


def test_every_guard_withholds_metrics_that_exist() -> None:
    for guard in GUARDS:
        assert guard.withholds <= set(METRICS)
        assert guard.implied_by <= {other.subject for other in GUARDS}


@pytest.mark.parametrize("count", [1, 1_999, 2_000, 2_001, 50_000])
def test_a_drawn_curve_keeps_its_ends_and_extremes(
    count: int, random_walk: Callable[[int], GrowthCurve]
) -> None:
    curve = random_walk(count)

    kept = kept_points(curve)

    assert len(kept) <= min(2_000, count)
    assert (np.diff(kept) > 0).all()
    assert {0, count - 1} <= set(kept.tolist())
    assert curve.growth[kept].max() == curve.growth.max()
    assert curve.growth[kept].min() == curve.growth.min()
    assert curve.drawdown[kept].min() == curve.drawdown.min()


def test_a_drawn_curve_keeps_a_drawdown_that_is_no_low() -> None:
    growth = np.linspace(1, 1_000, 50_000)
    growth[100] = 2.0
    curve = GrowthCurve(
        np.arange(50_000, dtype=np.int64), growth, growth / np.maximum.accumulate(growth) - 1
    )

    assert 100 in kept_points(curve)


@pytest.fixture
def random_walk() -> Callable[[int], GrowthCurve]:
    def walk(count: int) -> GrowthCurve:
        growth = np.exp(np.random.default_rng(count).standard_normal(count).cumsum() / 100)
        drawdown = growth / np.maximum.accumulate(growth) - 1
        return GrowthCurve(np.arange(count, dtype=np.int64), growth, drawdown)

    return walk
