"""Reproduction: run a saved run again from its snapshot, and say whether the answer is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ntrader.domain.pins import Pin
from ntrader.domain.reproduction import Attribution, Reproduction, compare_answers
from ntrader.errors import DamagedError, InvalidConfigError, NotFoundError, NoVerdictError
from ntrader.services.backtests import Progress, execute
from ntrader.services.originals import Original, load_original, plan_again
from ntrader.services.pins import check_pins

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace

type _Variant = tuple[Pin, StrategyDefinition, Dataset]


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
        InvalidConfigError: its snapshot is of an unknown version, or today's code is asked for and
            cannot be loaded or does not take the run's parameters.
        DatabaseUnavailableError: the database cannot be reached; nothing was run.
        NoVerdictError: a signal ended the new run, which is saved as a failed one.
    """
    original = await load_original(
        workspace, reference, trust=trust, needs_today=current_code or attribute
    )
    code = original.todays_code.required() if current_code else original.pinned_code
    checks = check_pins(workspace, original, code)
    report = await execute(
        workspace,
        plan_again(workspace, original, code, original.dataset),
        progress=progress,
        reproduced_from=original.run.run_id,
    )
    if report.interruption is not None:
        raise NoVerdictError(
            f"{report.interruption} There is no verdict.",
            hint=f"Begin again: `ntrader reproduce {original.run.run_id}`.",
        )
    return Reproduction(
        original=original.run,
        run=report.details.run,
        finding=compare_answers(original.details, report.details),
        checks=checks,
        attributions=await _attributions(workspace, original) if attribute else None,
        problem=original.details.problem,
        save_error=report.save_error,
    )


async def _attributions(workspace: Workspace, original: Original) -> tuple[Attribution, ...]:
    """Run with one pin changed at a time, as far as today's world offers something else."""
    return tuple([await _attribution(workspace, original, *each) for each in _variants(original)])


def _variants(original: Original) -> Iterator[_Variant]:
    """Give each pin that is another today, with the code and the data of a run where only it is."""
    pinned, today = original.pinned_code, original.todays_code.definition
    if today is not None and today.spec.source_hash != pinned.spec.source_hash:
        yield Pin.STRATEGY_CODE, today, original.dataset
    newest = original.newest_dataset
    if newest is not None and newest.content_hash != original.dataset.content_hash:
        yield Pin.DATA, pinned, newest


async def _attribution(
    workspace: Workspace, original: Original, pin: Pin, code: StrategyDefinition, dataset: Dataset
) -> Attribution:
    try:
        plan = plan_again(workspace, original, code, dataset)
    except (InvalidConfigError, NotFoundError, DamagedError) as error:
        # The verdict on the run itself stands, and is told all the same.
        return Attribution(pin=pin, problem=error.message)
    report = await execute(workspace, plan, save=False)
    if report.interruption is not None:
        return Attribution(pin=pin, problem=report.interruption)
    return Attribution(
        pin=pin,
        run=report.details.run,
        finding=compare_answers(original.details, report.details),
    )
