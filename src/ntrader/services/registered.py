"""Registered strategies: the only ones that a service runs, and their rows in the store.

A request over HTTP names a row. A row whose code is in somebody's file is not run, whoever put it
there: no request can name a file or code to load.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.strategies import StrategyRecord, built_in_name, normal_name
from ntrader.errors import ConflictError, InvalidConfigError, NotFoundError, UsageError
from ntrader.services.refusals import about

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace

_SEMVER = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def registered_strategies() -> Sequence[StrategyDefinition]:
    """Return the built-in strategies and those of installed packages."""
    from ntrader.engine.strategies.registry import all_strategies

    return all_strategies()


def is_registered(reference: str) -> bool:
    """Whether this is the name, an alias or the path of a registered strategy."""
    if built_in_name(reference) is not None:
        return True
    return any(
        reference == each.spec.path or normal_name(reference) == normal_name(each.spec.name)
        for each in registered_strategies()
    )


def definition_of(record: StrategyRecord) -> StrategyDefinition:
    """Return the code of a stored strategy.

    Raises:
        UsageError: it is none that is registered here.
    """
    for definition in registered_strategies():
        if definition.spec.path == record.implementation:
            return definition
    raise UsageError(
        f"The strategy {record.name} {record.version} is not registered with this service.",
        hint="The service runs what comes with ntrader or an installed package. A strategy in a "
        "file of yours is run with `ntrader run`.",
    )


async def ensure_registered(workspace: Workspace) -> None:
    """Give every registered strategy its row, so that it can be named by an id."""
    store = await workspace.store()
    for definition in registered_strategies():
        await store.strategies.ensure(definition.spec)


async def list_strategies(
    workspace: Workspace,
    *,
    name: str | None = None,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> Sequence[StrategyRecord]:
    """Return stored strategies, newest first; arguments as for `StrategyRepository.page`."""
    store = await workspace.store()
    return await store.strategies.page(name=name, limit=limit, after=after)


async def get_strategy(workspace: Workspace, strategy_id: UUID) -> StrategyRecord:
    """Return a stored strategy.

    Raises:
        NotFoundError: there is none.
    """
    store = await workspace.store()
    found = await store.strategies.find_by_id(strategy_id)
    if found is None:
        raise NotFoundError(f"There is no strategy {strategy_id}.")
    return found


async def add_configuration(
    workspace: Workspace,
    *,
    strategy_id: UUID,
    name: str,
    version: str,
    implementation: str,
    parameters: Mapping[str, Any],
    description: str = "",
) -> StrategyRecord:
    """Store a named and versioned configuration of a registered strategy.

    `strategy_id` is the id it gets; the same one again gives what was stored then.

    Raises:
        RefusedFieldsError: no strategy is registered as `implementation`, or name, version or a
            parameter is not valid.
        ConflictError: there is another one of that name and version.
    """
    with about("version"):
        if not _SEMVER.fullmatch(version):
            raise InvalidConfigError(f"{version!r} is not a semantic version such as 1.0.0.")
    with about("name"):
        if is_registered(name):
            raise InvalidConfigError(f"{name!r} is the name of a registered strategy.")
    definition = next(
        (
            each
            for each in registered_strategies()
            if normal_name(implementation) in (each.spec.name, *each.spec.aliases)
        ),
        None,
    )
    with about("implementation"):
        if definition is None:
            known = ", ".join(each.spec.name for each in registered_strategies())
            raise NotFoundError(
                f"No strategy is registered as {implementation!r}.", hint=f"There are {known}."
            )
    with about("parameters"):
        checked = definition.check(parameters)
    store = await workspace.store()
    record = await store.strategies.add_configuration(
        strategy_id,
        definition.spec,
        name=name,
        version=version,
        description=description,
        parameters=checked,
    )
    if record is None:
        raise ConflictError(
            f"There is a strategy {name} {version} already.", hint="Give it a new version."
        )
    return record
