"""Originals: a run that is to be reproduced, with its own data and code and with today's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ntrader.domain.runs import BacktestRun, RunDetails
from ntrader.domain.snapshot import ConfigSnapshot, RunConfig
from ntrader.errors import InvalidConfigError, NotFoundError, NtraderError, UsageError
from ntrader.services.backtests import Plan
from ntrader.services.history import read_run
from ntrader.services.requests import snapshot_of
from ntrader.services.strategies import is_built_in, strategy_of_run, strategy_today

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace
    from ntrader.storage.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class TodaysCode:
    """A run's strategy as it is today: its definition, or why there is none.

    Both are None for code from another machine, which is not looked at.
    """

    definition: StrategyDefinition | None = None
    error: NtraderError | None = None

    @classmethod
    def of(cls, snapshot: ConfigSnapshot) -> TodaysCode:
        """Look at the strategy that is there today; this executes it."""
        try:
            return cls(definition=strategy_today(snapshot))
        except (NotFoundError, InvalidConfigError) as error:
            return cls(error=error)

    def passed_over(self, source_hash: str) -> str:
        """Say why the kept code, which has this hash, was run instead; empty where they are one."""
        match self.definition, self.error:
            case None, None:
                return "the source that came with the run was used"
            case None, NotFoundError():
                what = "is gone"
            case None, _:
                what = "cannot be loaded any more"
            case definition, _ if definition.spec.source_hash == source_hash:
                return ""
            case _:
                what = "has changed since"
        return f"the file {what}; the run's own source was used"

    def required(self) -> StrategyDefinition:
        """Return the definition.

        Raises:
            NotFoundError: the strategy is gone.
            InvalidConfigError: it cannot be loaded.
        """
        if self.definition is not None:
            return self.definition
        why = "It was not looked at." if self.error is None else self.error.message
        kind = InvalidConfigError if isinstance(self.error, InvalidConfigError) else NotFoundError
        raise kind(
            f"There is no code of today to run. {why}",
            hint="Leave --current-code out: the run's own source was kept.",
        ) from self.error


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """The run to reproduce, and what today's world offers for it.

    `newest_dataset` is the newest version under the name of the run's own `dataset`.
    """

    details: RunDetails
    snapshot: ConfigSnapshot
    dataset: Dataset
    pinned_code: StrategyDefinition
    todays_code: TodaysCode
    newest_dataset: Dataset | None

    @property
    def run(self) -> BacktestRun:
        """The run itself."""
        return self.details.run


async def load_original(
    workspace: Workspace, reference: str, *, trust: bool, needs_today: bool
) -> Original:
    """Find a run, its data and its code; today's code too, where that is safe or asked for.

    Raises:
        UsageError: the run was imported with code that `trust` was not given for.
        NotFoundError: there is no such run, or its data or its strategy are gone.
        AmbiguousReferenceError: the reference fits more than one run.
        InvalidConfigError: its snapshot is of an unknown version.
    """
    details = await read_run(workspace, reference)
    run, snapshot = details.run, snapshot_of(details.run)
    store = await workspace.store()
    foreign = not is_built_in(snapshot) and await _came_from_elsewhere(store, run)
    # Who has reproduced an imported run has trusted its code, but not what lies at its path here.
    if foreign and not trust and (run.imported is not None or needs_today):
        raise _foreign_code(run, snapshot)
    dataset = await store.datasets.find_by_hash(snapshot.config.dataset_hash)
    if dataset is None:
        raise NotFoundError(
            f"The data of run {run.run_id} are gone: there is no dataset "
            f"{snapshot.config.dataset_hash[:12]}.",
            hint="Import the same file again: its content gives the same hash.",
        )
    # The path of an imported run is another machine's: what lies there here is not executed unless
    # it is asked for.
    looks = needs_today or not foreign
    return Original(
        details=details,
        snapshot=snapshot,
        dataset=dataset,
        pinned_code=await strategy_of_run(workspace, snapshot, kept_only=foreign),
        todays_code=TodaysCode.of(snapshot) if looks else TodaysCode(),
        newest_dataset=await store.datasets.newest_version(dataset),
    )


async def _came_from_elsewhere(store: Store, run: BacktestRun) -> bool:
    """Whether the run, or a run that it reproduced, was imported: its code is that one's."""
    ancestor: BacktestRun | None = run
    while ancestor is not None and ancestor.imported is None:
        original = ancestor.reproduced_from
        ancestor = None if original is None else await store.runs.find(original)
    return ancestor is not None


def _foreign_code(run: BacktestRun, snapshot: ConfigSnapshot) -> UsageError:
    return UsageError(
        f"Run {str(run.run_id)[:8]} was imported, or reproduces a run that was imported, and its "
        f"strategy is code from elsewhere ({snapshot.strategy_path}).",
        hint="Add --trust to execute it, if you trust whoever made the file.",
    )


def plan_again(
    workspace: Workspace, original: Original, code: StrategyDefinition, dataset: Dataset
) -> Plan:
    """Return the original's plan with this code and these data; all else is the snapshot's.

    Raises:
        NotFoundError: the bars are gone, or there are none in the run's period.
        InvalidConfigError: the code does not take the run's parameters.
    """
    from ntrader.engine.bars import instant

    config = original.snapshot.config
    bars = workspace.catalog.open(dataset.content_hash, config.start, config.end)
    if bars.first_label is None or bars.last_label is None:
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
            "start": instant(bars.first_label),
            "end": instant(bars.last_label + dataset.timeframe.nanoseconds),
        }
    )
    snapshot = original.snapshot.model_copy(
        update={"config": RunConfig.model_validate(changed.model_dump())}
    )
    return Plan(strategy=code, dataset=dataset, bars=bars, snapshot=snapshot)
