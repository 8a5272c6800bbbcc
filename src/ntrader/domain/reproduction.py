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
    from ntrader.domain.runs import BacktestRun, RunDetails


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
    """Return the earliest fill or equity point in which two answers differ; None without one.

    A fill counts as earlier than the equity at the close of its bar. Equity points count as equal
    where they round to one ten-thousandth, as in a result digest.
    """
    found = (_first_fill(original[0], run[0]), _first_point(original[1], run[1]))
    # Of equal times the first is taken: the fill.
    return min(filter(None, found), key=lambda divergence: divergence.time, default=None)


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
class Finding:
    """Two answers to one question, compared.

    `differences` are the metrics that differ. `divergence` is None for identical answers, where one
    of the two failed, and where the files of one cannot be read.
    """

    verdict: Verdict
    differences: tuple[MetricDifference, ...]
    divergence: Divergence | None


def compare_answers(original: "RunDetails", run: "RunDetails") -> Finding:
    """Compare what two runs gave.

    They are identical when both failed with one message after as many bars, or when both their
    result digests (every fill, trade and equity point) and all their metrics are equal: metrics
    that moved alone are what a changed formula leaves.
    """
    left, right = original.run, run.run
    differences = metric_differences(left.metrics, right.metrics)
    same_digest = left.result_digest == right.result_digest
    if left.error is None and right.error is None:
        identical = same_digest and not differences
    else:
        identical = _failure(left) == _failure(right)
    return Finding(
        verdict=Verdict.IDENTICAL if identical else Verdict.DIFFERENT,
        differences=differences,
        divergence=None if same_digest else _divergence(original, run),
    )


def _failure(run: "BacktestRun") -> tuple[str, Any] | None:
    return None if run.error is None else (run.error.message, run.metadata.get("bars_done"))


def _divergence(original: "RunDetails", run: "RunDetails") -> Divergence | None:
    if original.fills is None or original.equity is None:
        return None
    if run.fills is None or run.equity is None:
        return None
    return first_divergence((original.fills, original.equity), (run.fills, run.equity))


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What one changed pin alone does to the answer.

    `run` is the run with only that pin changed; None where it could not be made, and `problem`
    then says why.
    """

    pin: Pin
    run: "BacktestRun | None" = None
    finding: Finding | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """A re-run beside its original.

    `problem` says why the original's files cannot be read any more, if they cannot. `attributions`
    has a pin each that could be changed alone; None unless it was asked for.
    """

    original: "BacktestRun"
    run: "BacktestRun"
    finding: Finding
    checks: tuple[PinCheck, ...]
    attributions: tuple[Attribution, ...] | None = None
    problem: str | None = None
    save_error: NtraderError | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the answer is the same."""
        return self.finding.verdict

    @property
    def changed(self) -> tuple[PinCheck, ...]:
        """The pins that are not what they were."""
        return tuple(check for check in self.checks if check.state is not PinState.SAME)
