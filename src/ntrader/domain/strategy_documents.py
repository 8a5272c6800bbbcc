"""What is told of strategies, as JSON."""

from typing import Any

from ntrader.domain.strategies import StrategySpec


def strategy_document(spec: StrategySpec) -> dict[str, Any]:
    """Return a strategy with its parameters."""
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "version": spec.version,
        "type": spec.type,
        "description": spec.description,
        "path": spec.path,
        "source_hash": spec.source_hash,
        "parameters": [parameter.to_dict() for parameter in spec.parameters],
    }
