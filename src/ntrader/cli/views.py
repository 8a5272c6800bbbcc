"""Views: what a person sees of a run, put together from tables and the chart."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ntrader.cli.charts import equity_chart
from ntrader.cli.formats import plain_text
from ntrader.cli.layout import lines
from ntrader.cli.tables import (
    artifacts_table,
    metrics_table,
    provenance,
    run_heading,
    undefined_notes,
)
from ntrader.cli.tracebacks import own_frames
from ntrader.domain.runs import UNDEFINED_METRICS, RunDetails

CHART_WIDTH = 78


def run_view(details: RunDetails, *, width: int, ascii_only: bool = False) -> RenderableType:
    """Show a run: what it is, its metrics and its equity curve, or why it failed."""
    run = details.run
    parts: list[RenderableType] = [run_heading(run), Text()]
    if run.error is not None:
        parts += [Text("Error", style="bold red"), lines(run.error.message)]
        if run.error.traceback:
            parts += [
                Text(),
                Text("Traceback", style="dim"),
                lines(own_frames(run.error.traceback)),
            ]
        return Group(*parts)
    if run.metrics is not None:
        parts.append(metrics_table(run.metrics, run.config["instrument"]["currency"]))
    undefined = run.metadata.get(UNDEFINED_METRICS, {})
    if undefined:
        parts += [Text(), undefined_notes(undefined)]
    parts += [plain_text(f"Warning: {warning}") for warning in details.warnings]
    if details.equity is not None and len(details.equity) > 1:
        parts += [
            Text(),
            equity_chart(
                details.equity.values,
                width=min(width, CHART_WIDTH),
                labels=(f"{run.start:%Y-%m-%d}", f"{run.last_moment:%Y-%m-%d}"),
                ascii_only=ascii_only,
            ),
        ]
    return Group(*parts)


def details_view(details: RunDetails, *, width: int, ascii_only: bool = False) -> RenderableType:
    """Show a run with what is kept of it."""
    parts: list[RenderableType] = [run_view(details, width=width, ascii_only=ascii_only), Text()]
    if details.stale:
        changed = ", ".join(pin.words for pin in details.stale)
        parts += [Text(f"Stale: changed since the run: {changed}.", style="yellow"), Text()]
    if details.artifacts:
        parts += [artifacts_table(details.artifacts), Text()]
    parts.append(provenance(details.run))
    return Group(*parts)
