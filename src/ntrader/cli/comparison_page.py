"""A comparison as one page that opens without a network.

Every text from outside is escaped: as HTML in the tables, and in the JSON of the curves, in which
no `<` is left. A content security policy in the page allows its own script and style, by their
hashes, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ntrader.cli.comparison_text import (
    STAR,
    delta_text,
    metric_label,
    setting_text,
    significance_lines,
)
from ntrader.cli.formats import metric_text, short_id
from ntrader.cli.terminal import plain
from ntrader.domain.comparison import (
    LABELS,
    Comparison,
    ComparisonReport,
    GrowthCurve,
    MetricComparison,
    Setting,
)
from ntrader.domain.runs import BacktestRun
from ntrader.domain.significance import Significance
from ntrader.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_POINTS = 2_000

_FILE_HINT = "Give the path of a file in a directory that exists."
_POINTS_OF_A_BUCKET = 5
_NANOSECONDS = 1_000_000_000


def write_page(report: ComparisonReport, path: Path) -> None:
    """Write the page to a file, whole or not at all; an older one is replaced.

    Raises:
        UsageError: the file cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a directory.", hint=_FILE_HINT)
    # Beside the target, so that putting it in place is one rename.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(page(report), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint=_FILE_HINT) from error


def page(report: ComparisonReport) -> str:
    """Return the page as HTML."""
    comparison = report.comparison
    runs = comparison.runs
    style, script = _part("css"), _part("js")
    return Template(_part("html")).substitute(
        policy=f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}",
        title=f"Comparison of {len(runs)} runs",
        style=style,
        script=script,
        warnings=_warnings(comparison.warnings),
        significance="" if report.significance is None else _significance(report.significance),
        runs=_runs_table(runs),
        metrics=_metrics_table(comparison),
        settings=_settings_tables(comparison),
        footer=f"Made by ntrader compare {' '.join(str(run.run_id) for run in runs)}",
        data=_embedded({"curves": list(_curves(runs, report.curves))}),
    )


def kept_points(curve: GrowthCurve, limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Return which points of a curve to draw: at most `limit`, no extreme lost, in order.

    Of each of equal stretches the first, the last, the highest and the lowest equity, and the
    deepest drawdown.
    """
    import numpy as np

    count = len(curve.times)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, limit // _POINTS_OF_A_BUCKET + 1).astype(np.int64)
    kept = [*edges[:-1], *(edges[1:] - 1)]
    for start, stop in pairwise(edges):
        kept.append(start + curve.growth[start:stop].argmax())
        kept.append(start + curve.growth[start:stop].argmin())
        kept.append(start + curve.drawdown[start:stop].argmin())
    return np.unique(np.array(kept, np.int64))


def _curves(
    runs: Sequence[BacktestRun], curves: Sequence[GrowthCurve | None]
) -> Iterable[dict[str, Any]]:
    for index, (run, curve) in enumerate(zip(runs, curves, strict=True)):
        if curve is None:
            continue
        kept = kept_points(curve)
        yield {
            "index": index,
            "label": LABELS[index],
            "name": f"{short_id(run)} {run.strategy_name} {run.symbol}",
            "times": (curve.times[kept] // _NANOSECONDS).tolist(),
            "growth": curve.growth[kept].round(6).tolist(),
            "drawdown": curve.drawdown[kept].round(6).tolist(),
        }


def _part(suffix: str) -> str:
    return (files("ntrader.cli") / f"comparison_page.{suffix}").read_text(encoding="utf-8")


def _source(code: str) -> str:
    """Return a script or style as the content security policy names it."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _embedded(value: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _escaped(text: str) -> str:
    """Return text that no browser takes for markup, without what cannot be seen in it."""
    return html.escape(plain(text))


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return f'<ul class="warnings">{"".join(f"<li>{_escaped(text)}</li>" for text in warnings)}</ul>'


def _significance(significance: Significance) -> str:
    lines = "".join(f"<p>{_escaped(line)}</p>" for line in significance_lines(significance))
    return f"<h2>Significance</h2>{lines}"


def _runs_table(runs: Sequence[BacktestRun]) -> str:
    rows = [
        [
            _cell(LABELS[index], f"run-{index}"),
            _cell(str(run.run_id)),
            _cell(f"{run.strategy_name} {run.config['strategy']['version']}", "text"),
            _cell(f"{run.symbol} {run.timeframe}"),
            _cell(f"{run.start:%Y-%m-%d} to {run.last_moment:%Y-%m-%d}"),
            _cell(run.status.value),
        ]
        for index, run in enumerate(runs)
    ]
    return _table("Runs", ("", "Run", "Strategy", "Data", "Period", "Status"), rows)


def _metrics_table(comparison: Comparison) -> str:
    rows = [
        [
            _cell(metric_label(metric.name)),
            *(_metric_cell(metric, index, run) for index, run in enumerate(comparison.runs)),
        ]
        for metric in comparison.metrics
    ]
    note = f"{STAR} best" if comparison.marks_any else "no best is marked"
    title = f"Metrics ({note}; below, the delta to A)"
    return _table(title, _head(comparison.runs), rows, kind="numbers")


def _metric_cell(metric: MetricComparison, index: int, run: BacktestRun) -> str:
    value = _escaped(metric_text(metric.rule.unit, metric.values[index]))
    best = run.run_id in metric.best
    shown = f'<span class="best">{value}{STAR}</span>' if best else value
    delta = metric.deltas[index]
    if index and delta is not None:
        shown += f"<small>{_escaped(delta_text(metric.rule.unit, delta))}</small>"
    return f'<td class="number">{shown}</td>'


def _settings_tables(comparison: Comparison) -> str:
    shared = [setting for setting in comparison.settings if not setting.differs]
    differing = _settings_table("Configuration that differs", comparison.differences, comparison)
    folded = _settings_table("Configuration that is shared", shared, comparison)
    return f"{differing}<details><summary>Shared configuration</summary>{folded}</details>"


def _settings_table(title: str, settings: Sequence[Setting], comparison: Comparison) -> str:
    rows = [
        [
            _cell(setting.path),
            *(_cell(setting_text(setting.path, value), "text") for value in setting.values),
        ]
        for setting in settings
    ]
    return _table(title, _head(comparison.runs), rows) if rows else ""


def _head(runs: Sequence[BacktestRun]) -> tuple[str, ...]:
    return ("", *LABELS[: len(runs)])


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "texts"
) -> str:
    header = "".join(f"<th>{_escaped(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f'<h2>{_escaped(title)}</h2><div class="wide"><table class="{kind}">'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{_escaped(text)}</td>' if kind else f"<td>{_escaped(text)}</td>"
