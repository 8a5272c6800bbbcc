"""What is told of a reproduction, as JSON."""

from collections.abc import Mapping
from typing import Any

from ntrader.domain.documents import plain
from ntrader.domain.identity import instant_text
from ntrader.domain.reproduction import Attribution, Divergence, Finding, Reproduction
from ntrader.domain.runs import BacktestRun


def reproduction_document(found: Reproduction) -> dict[str, Any]:
    """Return a reproduction with its verdict."""
    return {
        "original": str(found.original.run_id),
        "run": str(found.run.run_id),
        "verdict": found.verdict.value,
        "checked": {check.pin.value: check.state.value for check in found.checks},
        "details": {check.pin.value: check.detail for check in found.checks if check.detail},
        **_finding(found.finding),
        "errors": {"original": _message(found.original), "run": _message(found.run)},
        "attribution": [_attribution(each) for each in found.attributions or ()],
        "saved": found.save_error is None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "metric_differences": {
            difference.name: {
                "original": plain(difference.original),
                "run": plain(difference.run),
            }
            for difference in finding.differences
        },
        "first_divergence": _divergence(finding.divergence),
    }


def _attribution(attribution: Attribution) -> dict[str, Any]:
    run, finding = attribution.run, attribution.finding
    return {
        "pin": attribution.pin.value,
        "verdict": None if finding is None else finding.verdict.value,
        "result_digest": None if run is None else run.result_digest,
        "first_divergence": None if finding is None else _divergence(finding.divergence),
        "error": attribution.problem if run is None else _message(run),
    }


def _message(run: BacktestRun) -> str | None:
    return None if run.error is None else run.error.message


def _divergence(divergence: Divergence | None) -> dict[str, Any] | None:
    if divergence is None:
        return None
    return {
        "kind": divergence.kind,
        "index": divergence.index,
        "time": instant_text(divergence.time),
        "original": _plain_values(divergence.original),
        "run": _plain_values(divergence.run),
    }


def _plain_values(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: plain(value) for name, value in values.items()}
