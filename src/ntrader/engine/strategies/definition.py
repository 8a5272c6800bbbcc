"""Definitions: a strategy's class together with what is known about it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ntrader.domain.strategies import Parameters, ParameterSpec, StrategySpec
from ntrader.errors import InvalidConfigError

if TYPE_CHECKING:
    from nautilus_trader.trading.strategy import Strategy

    from ntrader.engine.strategies.base import AnyStrategy
    from ntrader.engine.traders import MarketSetup


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a strategy's code is: `path` names it, `sha256` pins it, `is_file` for a user's."""

    path: str
    sha256: str
    is_file: bool


class StrategyDefinition(ABC):
    """A strategy that can be checked and run."""

    spec: StrategySpec

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

    def __init__(self, cls: type[AnyStrategy], source: Source, *, name: str | None = None) -> None:
        self._class = cls
        self.spec = StrategySpec(
            name=name or cls.name or cls.__name__,
            aliases=cls.aliases,
            version=version_of(cls, source),
            type=str(cls.strategy_type),
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
            faults = [
                (".".join(str(part) for part in fault["loc"]), fault["msg"])
                for fault in error.errors(include_url=False)
            ]
            raise parameter_error(self.spec, faults) from error
        complete: Parameters = checked.model_dump(mode="json")
        return complete

    def trader(self, parameters: Parameters, setup: MarketSetup) -> Strategy:
        """Wrap the strategy in the trader that sizes and sends its orders."""
        from ntrader.engine.traders import LongFlatTrader

        return LongFlatTrader(self._class(self._class.Parameters(**parameters)), setup)


def parameter_error(spec: StrategySpec, faults: list[tuple[str, str]]) -> InvalidConfigError:
    """Return the error for parameters that do not fit, naming each."""
    said = "; ".join(f"{name}: {message}" if name else message for name, message in faults)
    known = ", ".join(parameter.name for parameter in spec.parameters) or "no parameters"
    return InvalidConfigError(
        f"The parameters of {spec.name} are not valid: {said}.",
        hint=f"{spec.name} takes {known}; see `ntrader strategies {spec.name}`.",
    )


def version_of(cls: type, source: Source) -> str:
    """Return the class's version; code from a user's file carries its hash as build metadata.

    A file changes more often than its author bumps the version, and one version is one code.
    """
    version = str(getattr(cls, "version", "1.0.0"))
    return f"{version}+{source.sha256[:12]}" if source.is_file else version


def description_of(cls: type) -> str:
    """Return the first line of the class's docstring."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    return doc.splitlines()[0] if doc else ""


def _specs_of(schema: dict[str, Any]) -> list[ParameterSpec]:
    return [
        ParameterSpec(
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
        for name, field in schema.get("properties", {}).items()
    ]
