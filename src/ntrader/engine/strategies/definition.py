"""Definitions: a strategy's class together with what is known about it."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from ntrader.domain.faults import faults
from ntrader.domain.sources import StrategySource
from ntrader.domain.strategies import Parameters, ParameterSpec, StrategySpec, normal_name
from ntrader.engine.strategies.imports import UserModules
from ntrader.errors import InvalidConfigError

if TYPE_CHECKING:
    from nautilus_trader.trading.strategy import Strategy

    from ntrader.engine.strategies.base import AnyStrategy
    from ntrader.engine.traders import MarketSetup


_SEMVER = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a strategy's code is: `path` names it, `sha256` pins it, `is_file` for a user's.

    Of a user's, `code` is what was loaded, its imports included, and has `sha256` as its hash;
    `modules` are those imports. `file` is where it was loaded from, None for a kept source.
    """

    path: str
    sha256: str
    is_file: bool
    code: StrategySource | None = None
    modules: UserModules = field(default_factory=UserModules)
    file: Path | None = None


class StrategyDefinition(ABC):
    """A strategy that can be checked and run.

    Attributes:
        holds_its_orders: Whether its trader keeps orders back until the open that fills them.
    """

    spec: StrategySpec
    holds_its_orders: ClassVar[bool] = False
    source: Source

    @abstractmethod
    def check(self, values: Mapping[str, Any]) -> Parameters:
        """Return `values` with the defaults filled in.

        Raises:
            InvalidConfigError: a parameter is unknown, missing or out of bounds.
        """

    @abstractmethod
    def trader(self, parameters: Parameters, setup: MarketSetup) -> Strategy:
        """Return the NautilusTrader strategy that trades this on one instrument."""


class DeclaredStrategy(StrategyDefinition):
    """A subclass of `LongFlatStrategy`."""

    holds_its_orders = True

    def __init__(self, cls: type[AnyStrategy], source: Source, *, name: str | None = None) -> None:
        self._class = cls
        self.source = source
        self.spec = StrategySpec(
            name=name or cls.name or cls.__name__,
            aliases=cls.aliases,
            version=version_of(cls, source),
            type=normal_name(str(cls.strategy_type)),
            description=description_of(cls),
            path=source.path,
            source_hash=source.sha256,
            parameters=tuple(_specs_of(cls.Parameters.model_json_schema())),
        )

    def check(self, values: Mapping[str, Any]) -> Parameters:
        """Check against the `Parameters` model."""
        try:
            checked = self._class.Parameters.model_validate(dict(values))
        except ValidationError as error:
            raise parameter_error(self.spec, faults(error)) from error
        # None says that a parameter is left out, and so does its absence.
        complete: Parameters = checked.model_dump(mode="json", exclude_none=True)
        nested = [
            (name, "a parameter is a number, a text or a truth value")
            for name, value in complete.items()
            if not isinstance(value, int | float | bool | str)
        ]
        if nested:
            raise parameter_error(self.spec, nested)
        return complete

    def trader(self, parameters: Parameters, setup: MarketSetup) -> Strategy:
        """Wrap the strategy in the trader that sizes and sends its orders."""
        from ntrader.engine.traders import LongFlatTrader

        self.source.modules.put_in_place()
        return LongFlatTrader(self._class(self._class.Parameters(**parameters)), setup)


def parameter_error(spec: StrategySpec, found: list[tuple[str, str]]) -> InvalidConfigError:
    """Return the error for parameters that do not fit, naming each."""
    said = "; ".join(f"{name}: {message}" if name else message for name, message in found)
    known = ", ".join(parameter.name for parameter in spec.parameters) or "no parameters"
    return InvalidConfigError(
        f"The parameters of {spec.name} are not valid: {said}.",
        hint=f"{spec.name} takes {known}; see `ntrader strategies {spec.name}`.",
    )


def version_of(cls: type, source: Source) -> str:
    """Return the class's version; code from a user's file carries its hash as build metadata.

    A file changes more often than its author bumps the version, and one version is one code.

    Raises:
        InvalidConfigError: the class's version is not a semantic version.
    """
    version = str(getattr(cls, "version", "1.0.0"))
    if _SEMVER.fullmatch(version) is None:
        raise InvalidConfigError(
            f"{version!r} is not a version for {cls.__name__}.",
            hint='Give it a semantic version, such as version = "1.0.0".',
        )
    if not source.is_file:
        return version
    return f"{version}{'.' if '+' in version else '+'}{source.sha256[:12]}"


def description_of(cls: type) -> str:
    """Return the first line of the class's docstring."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    return doc.splitlines()[0] if doc else ""


def _specs_of(schema: dict[str, Any]) -> list[ParameterSpec]:
    definitions = schema.get("$defs", {})
    return [
        _spec_of(name, _resolved(field, definitions))
        for name, field in schema.get("properties", {}).items()
    ]


def _spec_of(name: str, field: dict[str, Any]) -> ParameterSpec:
    return ParameterSpec(
        name=name,
        type=str(field.get("type", "any")),
        default=field.get("default"),
        description=str(field.get("description", "")),
        minimum=field.get("minimum"),
        maximum=field.get("maximum"),
        exclusive_minimum=field.get("exclusiveMinimum"),
        exclusive_maximum=field.get("exclusiveMaximum"),
        choices=tuple(field["enum"]) if "enum" in field else None,
    )


def _resolved(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema with what it refers to, and of an optional one what it may hold."""
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return {**_resolved(options[0], definitions), **field}
    reference = str(field.get("$ref", "")).removeprefix("#/$defs/")
    return {**definitions.get(reference, {}), **field}
