"""Reproduction: run a saved run again from its snapshot, and say whether the answer is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ntrader.domain.pins import Pin
from ntrader.domain.reproduction import (
    Attribution,
    Divergence,
    PinCheck,
    PinState,
    Reproduction,
    Verdict,
    first_divergence,
    metric_differences,
)
from ntrader.domain.runs import BacktestRun, RunDetails
from ntrader.domain.snapshot import ConfigSnapshot, RunConfig
from ntrader.errors import NotFoundError, UsageError
from ntrader.services.backtests import Plan, Progress, RunReport, execute
from ntrader.services.environment import environment
from ntrader.services.history import read_run
from ntrader.services.requests import snapshot_of
from ntrader.services.strategies import is_built_in, strategy_of_run, strategy_today

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class _Original:
    """The run to reproduce, and what today's world offers for it."""

    details: RunDetails
    snapshot: ConfigSnapshot
    dataset: Dataset
    pinned_code: StrategyDefinition
    current_code: StrategyDefinition | None
    newest_dataset: Dataset | None

    def code_to_run(self, *, current: bool) -> StrategyDefinition:
        """Return the run's own code, or today's.

        Raises:
            NotFoundError: today's is asked for, and gone.
        """
        if not current:
            return self.pinned_code
        if self.current_code is None:
            raise NotFoundError(
                f"The strategy {self.snapshot.strategy_path} is not there any more.",
                hint="Leave --current-code out: the run's own source was kept.",
            )
        return self.current_code


async def reproduce(
    workspace: Workspace,
    reference: str,
    *,
    current_code: bool = False,
    attribute: bool = False,
    trust: bool = False,
    progress: Progress | None = None,
) -> Reproduction:
    """Run a run's snapshot again, save the new run linked to it, and compare.

    The code is the kept source of the run, today's with `current_code`. With `attribute`, the run
    is also done with one pin changed at a time (today's code, the newest data under the dataset's
    name), each unsaved, to say which one moves the answer. An imported run whose strategy is not
    built in brings somebody else's code, which is executed only with `trust`.

    Raises:
        UsageError: the run was imported with code that `trust` was not given for.
        NotFoundError: there is no such run, or its data or its strategy are gone.
        AmbiguousReferenceError: the reference fits more than one run.
        InvalidConfigError: its snapshot is of an unknown version.
        DatabaseUnavailableError: the database cannot be reached; nothing was run.
    """
    original = await _load(workspace, reference, trust=trust, needs_today=current_code or attribute)
    code = original.code_to_run(current=current_code)
    checks = _check_pins(workspace, original, code)
    report = await execute(
        workspace,
        _plan(workspace, original, code, original.dataset),
        progress=progress,
        reproduced_from=original.details.run.run_id,
    )
    attributions = await _attribute(workspace, original) if attribute else ()
    verdict, divergence = _compare(original.details, report.details)
    before, after = original.details.run, report.details.run
    return Reproduction(
        original=before,
        run=after,
        verdict=verdict,
        checks=checks,
        differences=metric_differences(before.metrics, after.metrics),
        divergence=divergence,
        attributions=attributions,
        problem=original.details.problem,
        save_error=report.save_error,
    )


async def _load(
    workspace: Workspace, reference: str, *, trust: bool, needs_today: bool
) -> _Original:
    details = await read_run(workspace, reference)
    snapshot = snapshot_of(details.run)
    if not trust:
        _refuse_foreign_code(details.run, snapshot)
    store = await workspace.store()
    dataset = await store.datasets.find_by_hash(snapshot.config.dataset_hash)
    if dataset is None:
        raise NotFoundError(
            f"The data of run {details.run.run_id} are gone: there is no dataset "
            f"{snapshot.config.dataset_hash[:12]}.",
            hint="Import the same file again: its content gives the same hash.",
        )
    return _Original(
        details=details,
        snapshot=snapshot,
        dataset=dataset,
        pinned_code=await strategy_of_run(workspace, snapshot),
        # The path of an imported run is another machine's: what lies there here is not executed
        # unless it is asked for.
        current_code=strategy_today(snapshot)
        if needs_today or details.run.imported is None or is_built_in(snapshot)
        else None,
        newest_dataset=await store.datasets.newest_version(dataset),
    )


def _refuse_foreign_code(run: BacktestRun, snapshot: ConfigSnapshot) -> None:
    if run.imported is None or is_built_in(snapshot):
        return
    raise UsageError(
        f"Run {str(run.run_id)[:8]} was imported, and its strategy is code from elsewhere "
        f"({snapshot.strategy_path}).",
        hint="Add --trust to execute it, if you trust whoever made the file.",
    )


def _plan(
    workspace: Workspace,
    original: _Original,
    code: StrategyDefinition,
    dataset: Dataset,
) -> Plan:
    """Return the original's plan with this code and these data; all else is the snapshot's."""
    from ntrader.engine.bars import instant

    config = original.snapshot.config
    bars = workspace.catalog.load(dataset.content_hash, config.start, config.end)
    if len(bars) == 0:
        raise NotFoundError(
            f"Dataset {dataset.name} ({dataset.content_hash[:8]}) has no bars in the run's period.",
            hint="The run cannot be done on these data.",
        )
    changed = config.model_copy(
        update={
            "strategy": config.strategy.model_copy(
                update={
                    "version": code.spec.version,
                    "source_hash": code.spec.source_hash,
                    "parameters": code.check(config.strategy.parameters),
                }
            ),
            "dataset_hash": dataset.content_hash,
            "start": instant(bars.times[0]),
            "end": instant(bars.close_times(dataset.timeframe)[-1]),
        }
    )
    snapshot = original.snapshot.model_copy(
        update={"config": RunConfig.model_validate(changed.model_dump())}
    )
    return Plan(strategy=code, dataset=dataset, bars=bars, snapshot=snapshot)


def _compare(original: RunDetails, run: RunDetails) -> tuple[Verdict, Divergence | None]:
    """Compare the digests of two answers, or the messages of two failures."""
    left, right = original.run, run.run
    if left.error is not None or right.error is not None:
        same = (
            left.error is not None
            and right.error is not None
            and left.error.message == right.error.message
        )
        return (Verdict.IDENTICAL if same else Verdict.DIFFERENT), None
    if left.result_digest == right.result_digest:
        return Verdict.IDENTICAL, None
    return Verdict.DIFFERENT, _divergence(original, run)


def _divergence(original: RunDetails, run: RunDetails) -> Divergence | None:
    if original.fills is None or original.equity is None:
        return None
    if run.fills is None or run.equity is None:
        return None
    return first_divergence((original.fills, original.equity), (run.fills, run.equity))


async def _attribute(workspace: Workspace, original: _Original) -> tuple[Attribution, ...]:
    """Run with one pin changed at a time, as far as today's world offers something else."""
    pinned, today = original.pinned_code, original.current_code
    newest = original.newest_dataset
    variants: list[tuple[Pin, Plan]] = []
    if today is not None and today.spec.source_hash != pinned.spec.source_hash:
        variants.append((Pin.STRATEGY_CODE, _plan(workspace, original, today, original.dataset)))
    if newest is not None and newest.content_hash != original.dataset.content_hash:
        variants.append((Pin.DATA, _plan(workspace, original, pinned, newest)))
    attributions = []
    for pin, plan in variants:
        report = await execute(workspace, plan, save=False)
        attributions.append(_attribution(original.details, pin, report))
    return tuple(attributions)


def _attribution(original: RunDetails, pin: Pin, report: RunReport) -> Attribution:
    verdict, divergence = _compare(original, report.details)
    return Attribution(pin=pin, verdict=verdict, run=report.details.run, divergence=divergence)


def _check_pins(
    workspace: Workspace, original: _Original, code: StrategyDefinition
) -> tuple[PinCheck, ...]:
    """Compare what the run rested on with what the re-run rests on."""
    return (
        _data_check(workspace, original),
        _code_check(original, code),
        *_environment_checks(original.details.run),
    )


def _data_check(workspace: Workspace, original: _Original) -> PinCheck:
    pinned = original.dataset.content_hash
    computed = workspace.catalog.verify(pinned)
    if computed != pinned:
        return PinCheck(
            pin=Pin.DATA,
            state=PinState.CHANGED,
            detail=f"the stored bars hash to {computed[:12]}, not to {pinned[:12]}",
        )
    newest = original.newest_dataset
    newer = newest is not None and newest.content_hash != pinned
    detail = f"a newer version of {original.dataset.name} exists; the run's own was used"
    return PinCheck(pin=Pin.DATA, state=PinState.SAME, detail=detail if newer else "")


def _code_check(original: _Original, code: StrategyDefinition) -> PinCheck:
    recorded = original.snapshot.config.strategy.source_hash
    if code.spec.source_hash != recorded:
        return PinCheck(
            pin=Pin.STRATEGY_CODE,
            state=PinState.CHANGED,
            detail=f"source {recorded[:12]} became {code.spec.source_hash[:12]}",
        )
    today = original.current_code
    detail = ""
    if today is None and original.details.run.imported is not None:
        detail = "the source that came with the run was used"
    elif today is None:
        detail = "the file is gone; the run's own source was used"
    elif today.spec.source_hash != recorded:
        detail = "the file has changed since; the run's own source was used"
    return PinCheck(pin=Pin.STRATEGY_CODE, state=PinState.SAME, detail=detail)


def _environment_checks(run: BacktestRun) -> tuple[PinCheck, PinCheck]:
    then: dict[str, Any] = run.metadata.get("environment") or {}
    now = environment()
    return (
        _versions_check(Pin.ENGINE, _engine(then), _engine(now)),
        _versions_check(Pin.ENVIRONMENT, _surroundings(then), _surroundings(now)),
    )


def _engine(recorded: dict[str, Any]) -> dict[str, str]:
    engine = recorded.get("engine")
    return {engine["name"]: engine["version"]} if isinstance(engine, dict) else {}


def _surroundings(recorded: dict[str, Any]) -> dict[str, str]:
    versions: dict[str, str] = dict(recorded.get("libraries") or {})
    for name in ("ntrader", "python", "platform"):
        if name in recorded:
            versions[name] = str(recorded[name])
    return versions


def _versions_check(pin: Pin, before: dict[str, str], after: dict[str, str]) -> PinCheck:
    if not before:
        return PinCheck(pin=pin, state=PinState.UNKNOWN, detail="the run recorded nothing of it")
    changes = [
        f"{name} {old} became {after.get(name, 'absent')}"
        for name, old in before.items()
        if after.get(name) != old
    ]
    state = PinState.CHANGED if changes else PinState.SAME
    return PinCheck(pin=pin, state=state, detail=", ".join(changes))
