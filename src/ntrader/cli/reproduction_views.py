"""Views of a reproduction: the verdict in one line, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.comparison_text import metric_label
from ntrader.cli.formats import UNDEFINED, metric_text, plain_text, short_id
from ntrader.cli.layout import plain_table
from ntrader.domain.documents import plain
from ntrader.domain.ranking import METRIC_RULES
from ntrader.domain.reproduction import (
    Attribution,
    Divergence,
    MetricDifference,
    PinCheck,
    PinState,
    Reproduction,
    Verdict,
)
from ntrader.domain.runs import BacktestRun

_STATE_STYLES = {
    PinState.SAME: "green",
    PinState.CHANGED: "yellow",
    PinState.UNKNOWN: "yellow",
}


def reproduction_view(found: Reproduction) -> RenderableType:
    """Show a reproduction."""
    parts: list[RenderableType] = [_verdict_line(found), Text(), _checks_table(found.checks)]
    if found.original.error is not None or found.run.error is not None:
        parts += [Text(), *_endings(found.original, found.run)]
    else:
        parts += _differing_answers(found)
    if found.attributions is not None:
        parts += [Text(), *_attribution_lines(found.attributions)]
    return Group(*parts)


def _differing_answers(found: Reproduction) -> Iterator[RenderableType]:
    """Say where two answers part, and in which metrics; nothing of identical ones."""
    finding = found.finding
    if finding.divergence is not None:
        yield from (Text(), *_divergence_lines(finding.divergence))
    elif found.problem is not None and found.verdict is Verdict.DIFFERENT:
        yield from (Text(), plain_text(f"Where they part is not known: {found.problem}"))
    if finding.differences:
        yield from (Text(), _differences_table(finding.differences))


def _verdict_line(found: Reproduction) -> Text:
    original = short_id(found.original)
    if found.verdict is Verdict.IDENTICAL:
        failed = found.run.error is not None
        what = ": it failed in the same way" if failed else ", to the last fill and equity point"
        return Text.assemble(("IDENTICAL", "bold green"), f"  Run {original} still holds{what}.")
    changed = ", ".join(check.pin.words for check in found.changed)
    why = f"changed: {changed}" if changed else "although nothing it rests on is known to differ"
    return Text.assemble(
        ("DIFFERENT", "bold red"), f"  Run {original} {_what_differs(found)}; {why}."
    )


def _what_differs(found: Reproduction) -> str:
    match found.original.error, found.run.error:
        case None, None if found.original.result_digest == found.run.result_digest:
            return "gives the same fills and equity today, but other metrics"
        case None, None:
            return "gives another answer today"
        case None, _:
            return "fails today"
        case _, None:
            return "failed, and succeeds today"
        case _:
            return "fails in another way today"


def _checks_table(checks: tuple[PinCheck, ...]) -> Table:
    table = plain_table()
    for check in checks:
        table.add_row(
            Text(check.pin.words.capitalize(), style="dim"),
            Text(check.state.value, style=_STATE_STYLES[check.state]),
            plain_text(check.detail),
        )
    return table


def _endings(original: BacktestRun, run: BacktestRun) -> list[Text]:
    """Say how each of two runs ended, of which one failed at least."""
    return [
        plain_text(f"{title:8}  {_ending(each)}")
        for title, each in (("Original", original), ("Now", run))
    ]


def _ending(run: BacktestRun) -> str:
    return "ran to its end" if run.error is None else run.error.message.partition("\n")[0]


def _divergence_lines(divergence: Divergence) -> list[RenderableType]:
    title = f"First difference: {divergence.kind} {divergence.index + 1}"
    table = plain_table("", right=("ORIGINAL", "NOW"))
    for name in divergence.original or divergence.run or ():
        table.add_row(name, _side(divergence.original, name), _side(divergence.run, name))
    return [Text(f"{title}, {divergence.time:%Y-%m-%d %H:%M} UTC", "bold"), table]


def _side(values: Mapping[str, Any] | None, name: str) -> str:
    if values is None:
        return "none"
    match values[name]:
        case datetime() as time:
            return f"{time:%Y-%m-%d %H:%M}"
        case Decimal() as number:
            return f"{number.normalize():,f}"
        case float() as number:
            # In ten-thousandths, as they were compared.
            return f"{number:,.4f}"
        case value:
            return str(value)


def _differences_table(differences: tuple[MetricDifference, ...]) -> Table:
    table = plain_table("METRIC", right=("ORIGINAL", "NOW"))
    for difference in differences:
        table.add_row(metric_label(difference.name), *_metric_texts(difference))
    return table


def _metric_texts(difference: MetricDifference) -> tuple[str, str]:
    unit = METRIC_RULES[difference.name].unit
    shown = metric_text(unit, difference.original), metric_text(unit, difference.run)
    if shown[0] != shown[1]:
        return shown
    # They differ in digits that are not shown otherwise.
    return _exact(difference.original), _exact(difference.run)


def _exact(value: Any) -> str:
    return UNDEFINED if value is None else str(plain(value))


def _attribution_lines(attributions: tuple[Attribution, ...]) -> list[RenderableType]:
    if not attributions:
        return [
            Text(
                "Nothing to attribute: there is no other code and there are no newer data to try. "
                "The engine and the environment cannot be exchanged here."
            )
        ]
    lines: list[RenderableType] = []
    for attribution in attributions:
        lines += [Text(), *_lines_of(attribution)] if lines else _lines_of(attribution)
    return lines


def _lines_of(attribution: Attribution) -> list[RenderableType]:
    name = attribution.pin.words
    if attribution.run is None or attribution.finding is None:
        return [plain_text(f"Today's {name} alone cannot be tried. {attribution.problem}")]
    if attribution.finding.verdict is Verdict.IDENTICAL:
        return [Text(f"Today's {name} alone leaves the answer as it was.")]
    lines: list[RenderableType] = [
        Text(f"Today's {name} alone moves the answer.", style="bold yellow")
    ]
    if attribution.run.error is not None:
        lines.append(plain_text(f"It fails: {_ending(attribution.run)}"))
    if attribution.finding.divergence is not None:
        lines += _divergence_lines(attribution.finding.divergence)
    return lines
