"""Runs as YAML: what `ntrader run` reads, and what `ntrader show --config` writes."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from ntrader.domain.identity import instant_text
from ntrader.domain.snapshot import ConfigSnapshot
from ntrader.domain.strategies import ClassInFile
from ntrader.errors import InvalidConfigError, NotFoundError

MAX_CONFIG_BYTES = 1_000_000

_LONGEST_REASON = 200
# The YAML reader raises these too, for a value that is not what its tag (`!!bool x`) says.
_NOT_YAML = (
    yaml.YAMLError,
    ValueError,
    RecursionError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
)


class _StrictLoader(yaml.SafeLoader):
    """Reads plain values only, and refuses a key that comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, or raise for a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            # All that a configuration names is a plain word; an alias could stand for a billion.
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a name is no plain word", node.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is set twice", node.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_values(path: Path) -> dict[str, Any]:
    """Read the settings of a run from a YAML file.

    Raises:
        NotFoundError: there is no such file.
        InvalidConfigError: the file is too large, or not a mapping in YAML.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidConfigError(
                f"{path} is larger than {MAX_CONFIG_BYTES:,} bytes.",
                hint="A configuration names a strategy, data and numbers; is this the right file?",
            )
        loaded = yaml.load(path.read_bytes(), _StrictLoader)  # noqa: S506, it is a SafeLoader
    except OSError as error:
        raise NotFoundError(
            f"The configuration {path} cannot be read: {error.strerror}.",
            hint="Give the path of a YAML file.",
        ) from error
    except _NOT_YAML as error:
        first, *_ = str(error).splitlines() or ["a value cannot be read"]
        raise InvalidConfigError(
            f"{path} is not valid YAML: {first[:_LONGEST_REASON]}.",
            hint="Write `name: value` lines.",
        ) from error
    if not isinstance(loaded, dict):
        raise InvalidConfigError(
            f"{path} does not hold a mapping.", hint="Write `strategy: sma` and more such lines."
        )
    return {str(key): value for key, value in loaded.items()}


def request_yaml(snapshot: ConfigSnapshot) -> str:
    """Return a snapshot as YAML that `ntrader run` takes back: the same question, all said."""
    config = snapshot.config
    in_file = ClassInFile.parse(snapshot.strategy_path)
    values = {
        "strategy": config.strategy.name if in_file is None else str(in_file),
        "parameters": dict(sorted(config.strategy.parameters.items())),
        "dataset": config.dataset_hash,
        "symbol": config.instrument.symbol,
        "timeframe": config.timeframe,
        "start": instant_text(config.start),
        # A period ends at a close; its last bar's label lies before it.
        "end": instant_text(config.end),
        "capital": _yaml_number(config.initial_capital),
        "equity_fraction": _yaml_number(config.equity_fraction),
        "fee": _yaml_number(config.fee),
        "fill": config.fill.value,
        "slippage": _yaml_number(config.slippage),
        "seed": config.seed,
    }
    text = _dumped(values, allow_unicode=True)
    # YAML calls characters printable that drive a terminal: such a text is escaped instead.
    seen = text.replace("\n", "").isprintable()
    return text if seen else _dumped(values, allow_unicode=False)


def _dumped(values: dict[str, Any], *, allow_unicode: bool) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=allow_unicode)
    return text


def _yaml_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
