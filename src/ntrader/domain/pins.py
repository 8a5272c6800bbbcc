"""Pins: what a run rests on."""

from enum import StrEnum


class Pin(StrEnum):
    """Something that must be as it was for a run to hold."""

    CONFIGURATION = "configuration"
    DATA = "data"
    STRATEGY_CODE = "strategy_code"
    ENGINE = "engine"
    ENVIRONMENT = "environment"

    @property
    def words(self) -> str:
        """The pin as it is said to a person."""
        return self.value.replace("_", " ")
