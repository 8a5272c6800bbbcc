"""Strategies: what can be run, and with which parameters."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from ntrader.errors import NotFoundError

type ParameterValue = int | float | bool | str
type Parameters = dict[str, ParameterValue]


class StrategyType(StrEnum):
    """The families that a strategy can belong to; a user's own may name another."""

    TREND_FOLLOWING = "trend_following"
    MEAN_REVERSION = "mean_reversion"
    MOMENTUM = "momentum"


BUILT_IN_ALIASES = {
    "sma": ("sma_crossover",),
    "rsi": ("rsi_mean_reversion",),
    "momentum": ("momentum_strategy",),
}
"""The strategies that come with ntrader, and what else each is called."""


ENTRY_POINT_GROUP = "ntrader.strategies"
"""The entry points under which packages register strategies."""


def normal_name(text: str) -> str:
    """Return a strategy's name as names are compared: case, `-` and spaces do not matter."""
    return text.strip().lower().replace("-", "_").replace(" ", "_")


def built_in_name(text: str) -> str | None:
    """Return the name of the built-in strategy that `text` means, by name or alias."""
    wanted = normal_name(text)
    for name, aliases in BUILT_IN_ALIASES.items():
        if wanted in (name, *aliases):
            return name
    return None


@dataclass(frozen=True, slots=True)
class ClassInFile:
    """A strategy that is named by its code: `path/to/file.py:Class`."""

    path: Path
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a reference; None if it is no file's, but a registered name.

        Raises:
            NotFoundError: it names a file and no class in it.
        """
        path, colon, name = text.rpartition(":")
        if colon and name and path.endswith(".py"):
            return cls(Path(path), name)
        file = path if colon and not name else text
        if file.endswith(".py"):
            raise NotFoundError(
                f"{text!r} names a file and no strategy in it.",
                hint=f"Add the class: {file}:ClassName.",
            )
        return None

    def located(self) -> Self:
        """Return it with the absolute path, which is how runs keep it."""
        return type(self)(self.path.expanduser().absolute(), self.name)

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterSpec:
    """A declared parameter: enough to check a value or to draw a form.

    Bounds are inclusive unless `exclusive_minimum` or `exclusive_maximum` is set.
    """

    name: str
    type: str
    default: ParameterValue | None
    description: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    choices: tuple[ParameterValue, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON values, without what is not set."""
        optional = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusive_minimum": self.exclusive_minimum,
            "exclusive_maximum": self.exclusive_maximum,
            "choices": None if self.choices is None else list(self.choices),
        }
        return {
            "name": self.name,
            "type": self.type,
            "default": self.default,
            "description": self.description,
            **{key: value for key, value in optional.items() if value is not None},
        }


PARAMETER_KEYS = tuple(each.name for each in fields(ParameterSpec))


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategySpec:
    """A strategy as the registry knows it, before anything is stored.

    `path` says where it is implemented (`module:Class` or `file.py:Class`), `source_hash` is the
    sha256 of that source. `version` is a semantic version.
    """

    name: str
    aliases: tuple[str, ...]
    version: str
    type: str
    description: str
    path: str
    source_hash: str
    parameters: tuple[ParameterSpec, ...]

    @property
    def defaults(self) -> Parameters:
        """The value of every parameter that has a default."""
        return {p.name: p.default for p in self.parameters if p.default is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyRecord:
    """A strategy, or a named configuration of one, as it is stored."""

    id: UUID
    name: str
    version: str
    description: str
    implementation: str
    params: Parameters
    param_spec: list[dict[str, Any]]
    source_hash: str
    created_at: datetime
    updated_at: datetime
