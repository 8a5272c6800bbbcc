"""Strategies that are written against NautilusTrader itself, run as they are."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.config import msgspec_decoding_hook
from nautilus_trader.model.data import BarType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from ntrader.domain.documents import number
from ntrader.domain.strategies import Parameters, ParameterSpec, StrategySpec, normal_name
from ntrader.engine.strategies.definition import (
    Source,
    StrategyDefinition,
    description_of,
    parameter_error,
    version_of,
)
from ntrader.errors import InvalidConfigError

if TYPE_CHECKING:
    from ntrader.engine.traders import MarketSetup

_TYPE_NAMES = {int: "integer", float: "number", Decimal: "number", bool: "boolean", str: "string"}


class NativeStrategy(StrategyDefinition):
    """A subclass of NautilusTrader's `Strategy` with a `StrategyConfig` of its own.

    The configuration's fields of type `InstrumentId` and `BarType` are filled with the run's
    instrument and bars; all others are the strategy's parameters. It sizes its orders itself.
    """

    def __init__(self, cls: type[Strategy], source: Source, *, name: str | None = None) -> None:
        self._class = cls
        self.source = source
        self._config_class = _config_class_of(cls)
        inherited = {field.name for field in msgspec.structs.fields(StrategyConfig)}
        hints = typing.get_type_hints(self._config_class)
        own = [f for f in msgspec.structs.fields(self._config_class) if f.name not in inherited]
        self._instrument_fields = [f.name for f in own if hints[f.name] is InstrumentId]
        self._bar_type_fields = [f.name for f in own if hints[f.name] is BarType]
        market = {*self._instrument_fields, *self._bar_type_fields}
        self._fields = {f.name: f for f in own if f.name not in market}
        self.spec = StrategySpec(
            name=name or cls.__name__,
            aliases=(),
            version=version_of(cls, source),
            type=normal_name(str(getattr(cls, "strategy_type", "custom"))),
            description=description_of(cls),
            path=source.path,
            source_hash=source.sha256,
            parameters=tuple(
                ParameterSpec(
                    name=field.name,
                    type=_type_name(hints[field.name]),
                    default=_json_value(_default_of(field)),
                    description="",
                )
                for field in self._fields.values()
            ),
        )

    def check(self, values: Mapping[str, Any]) -> Parameters:
        """Check each value against its field's type."""
        faults = [(name, "not a parameter") for name in values if name not in self._fields]
        checked: Parameters = {}
        for name, field in self._fields.items():
            if name not in values and field.required:
                faults.append((name, "required"))
                continue
            value = values.get(name, _default_of(field))
            try:
                converted = msgspec.convert(
                    value, field.type, strict=False, dec_hook=msgspec_decoding_hook
                )
            except (msgspec.ValidationError, ValueError, TypeError) as error:
                faults.append((name, str(error)))
                continue
            if converted is not None:
                checked[name] = _json_value(converted)
        if faults:
            raise parameter_error(self.spec, faults)
        return checked

    def trader(self, parameters: Parameters, setup: MarketSetup) -> Strategy:
        """Return an instance, configured for the run's instrument and bars."""
        self.source.modules.put_in_place()
        values = {
            **parameters,
            **dict.fromkeys(self._instrument_fields, str(setup.instrument.id)),
            **dict.fromkeys(self._bar_type_fields, str(setup.bar_type)),
        }
        config = msgspec.convert(
            values, self._config_class, strict=False, dec_hook=msgspec_decoding_hook
        )
        return self._class(config=config)


def _config_class_of(cls: type[Strategy]) -> type[StrategyConfig]:
    hints = typing.get_type_hints(cls.__init__)
    found = [
        hint
        for hint in hints.values()
        if isinstance(hint, type) and issubclass(hint, StrategyConfig)
    ]
    if not found:
        raise InvalidConfigError(
            f"{cls.__name__} does not say which configuration it takes.",
            hint=f"Annotate its constructor: def __init__(self, config: {cls.__name__}Config).",
        )
    return found[0]


def _type_name(hint: Any) -> str:
    """Return the JSON type of a hint; that of its one member if it is optional."""
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _type_name(members[0]) if len(members) == 1 else "any"
    return _TYPE_NAMES.get(hint, "string")


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        # A number, so that it is found as one; text where a float would not hold it.
        if value.adjusted() > sys.float_info.max_10_exp:
            return str(value)
        plain = number(value)
        return plain if Decimal(str(plain)) == value else str(value)
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)
