"""Reproductions: whether a re-run gave the same answer, and if not, where the two part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ntrader.domain.pins import Pin
from ntrader.domain.results import METRICS, EquityCurve, Fill, PerformanceMetrics
from ntrader.errors import NtraderError

if TYPE_CHECKING:
    from ntrader.domain.runs import BacktestRun


class Verdict(StrEnum):
    """Whether the answer is the same."""

    IDENTICAL = "identical"
    DIFFERENT = "different"


class PinState(StrEnum):
    """Whether a pin is today what it was when the run was made."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinCheck:
    """A pin, its state, and what changed in words (empty where nothing did)."""

    pin: Pin
    state: PinState
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """The first point at which two answers part.

    `kind` is `fill` or `equity`, `index` counts from 0 in that list, `time` is the earlier of the
    two sides' times. A side is None where its list has ended.
    """

    kind: str
    index: int
    time: datetime
    original: Mapping[str, Any] | None
    run: Mapping[str, Any] | None


def first_divergence(
    original: tuple[Sequence[Fill], EquityCurve], run: tuple[Sequence[Fill], EquityCurve]
) -> Divergence | None:
    """Return the first fill in which two answers differ, else the first equity point, else None.

    Equity points count as equal where they round to one ten-thousandth, as in a result digest.
    """
    return _first_fill(original[0], run[0]) or _first_point(original[1], run[1])


def _first_fill(original: Sequence[Fill], run: Sequence[Fill]) -> Divergence | None:
    for index in range(max(len(original), len(run))):
        left = original[index] if index < len(original) else None
        right = run[index] if index < len(run) else None
        if left is None or right is None or left.canonical() != right.canonical():
            times = [fill.time for fill in (left, right) if fill is not None]
            return Divergence(
                kind="fill",
                index=index,
                time=min(times),
                original=_fill_values(left),
                run=_fill_values(right),
            )
    return None


def _fill_values(fill: Fill | None) -> dict[str, Any] | None:
    if fill is None:
        return None
    return {
        "time": fill.time,
        "side": fill.side.value,
        "quantity": fill.quantity,
        "price": fill.price,
        "fee": fill.fee,
    }


def _first_point(original: EquityCurve, run: EquityCurve) -> Divergence | None:
    import numpy as np

    common = min(len(original), len(run))
    parts = (original.times[:common] != run.times[:common]) | (
        np.rint(original.values[:common] * 1e4) != np.rint(run.values[:common] * 1e4)
    )
    index = int(np.argmax(parts)) if parts.any() else common
    if index == common and len(original) == len(run):
        return None
    left, right = _point_values(original, index), _point_values(run, index)
    times = [point["time"] for point in (left, right) if point is not None]
    return Divergence(kind="equity", index=index, time=min(times), original=left, run=right)


def _point_values(curve: EquityCurve, index: int) -> dict[str, Any] | None:
    if index >= len(curve):
        return None
    return {"time": curve.time_at(index), "equity": float(curve.values[index])}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricDifference:
    """A metric whose value is not the same."""

    name: str
    original: Any
    run: Any


def metric_differences(
    original: PerformanceMetrics | None, run: PerformanceMetrics | None
) -> tuple[MetricDifference, ...]:
    """Return the metrics that differ; all of them where only one side has any."""
    left = {} if original is None else original.values()
    right = {} if run is None else run.values()
    return tuple(
        MetricDifference(name=name, original=left.get(name), run=right.get(name))
        for name in METRICS
        if left.get(name) != right.get(name)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What one changed pin alone does to the answer: the verdict of a run with only it changed."""

    pin: Pin
    verdict: Verdict
    run: "BacktestRun"
    divergence: Divergence | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """A re-run beside its original.

    `divergence` is None for an identical answer, and where the original's files cannot be read any
    more (`problem` then says why). `attributions` are empty unless they were asked for.
    """

    original: "BacktestRun"
    run: "BacktestRun"
    verdict: Verdict
    checks: tuple[PinCheck, ...]
    differences: tuple[MetricDifference, ...]
    divergence: Divergence | None
    attributions: tuple[Attribution, ...] = ()
    problem: str | None = None
    save_error: NtraderError | None = None

    @property
    def changed(self) -> tuple[PinCheck, ...]:
        """The pins that are not what they were."""
        return tuple(check for check in self.checks if check.state is not PinState.SAME)
