"""Requests: what a user asks for, checked at the edge."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from ntrader.domain.faults import faults_text
from ntrader.domain.identity import decimal_text
from ntrader.domain.runs import BacktestRun
from ntrader.domain.snapshot import ConfigSnapshot, FillMode
from ntrader.domain.strategies import ClassInFile
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import InvalidConfigError, UsageError

COMMAND_LINE = "command line"


def _instant(value: object, *, whole_day: bool) -> object:
    """Read a date or an instant; naive is UTC, and a bare date is its midnight or the next one."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError("not an ISO date such as 2010-01-04 or 2010-01-04T14:30") from None
        value = parsed.date() if len(value.strip()) <= len("2010-01-04") else parsed
    try:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if isinstance(value, date):
            day = value + timedelta(days=1) if whole_day else value
            return datetime.combine(day, time(), UTC)
    except OverflowError:
        raise ValueError("the date is beyond the calendar") from None
    return value


def start_instant(value: object) -> object:
    """Read the start of a period: a bare date is its first moment."""
    return _instant(value, whole_day=False)


def end_instant(value: object) -> object:
    """Read the end of a period, exclusive: a bare date is included as a whole."""
    return _instant(value, whole_day=True)


_as_text = PlainSerializer(decimal_text, when_used="json")


class RunRequest(BaseModel):
    """A backtest as a user asks for it: from a YAML file, the command line or both.

    Bars with labels in [`start`, `end`) are used. What is None is found: the dataset by symbol and
    timeframe, the sample data without either, the whole range without a period.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str = Field(min_length=1, max_length=4_096)
    parameters: dict[str, int | float | bool | str] = Field(default_factory=dict)
    dataset: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    start: Annotated[datetime | None, BeforeValidator(start_instant)] = None
    end: Annotated[datetime | None, BeforeValidator(end_instant)] = None
    capital: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=4), _as_text] = Decimal(
        100_000
    )
    equity_fraction: Annotated[Decimal, Field(gt=0, le=1, decimal_places=8), _as_text] = Decimal(
        "0.9"
    )
    fee: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=8), _as_text] = Decimal(0)
    fill: FillMode = FillMode.NEXT_OPEN
    slippage: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=8), _as_text] = Decimal(0)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _period_runs_forward(self) -> Self:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("the end of the period lies before its start")
        return self

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, value: str | None) -> str | None:
        return None if value is None else str(Timeframe.parse(value))


def _values_of(config: Path) -> Mapping[str, Any]:
    # Most runs have no file, and reading YAML loads as many modules as a database driver.
    from ntrader.services.run_yaml import read_values

    return read_values(config)


def build_request(
    config: Path | None, overrides: Mapping[str, Any], parameters: Mapping[str, Any]
) -> RunRequest:
    """Return the request of a YAML file with the command line's options over it.

    Raises:
        NotFoundError: there is no such file.
        InvalidConfigError: the file is not YAML, or a value is not valid.
    """
    values = {} if config is None else _values_of(config)
    given = values.get("parameters") or {}
    if not isinstance(given, dict):
        raise InvalidConfigError(
            f"`parameters` in {config} is not a mapping.", hint="Write one `name: value` a line."
        )
    _refuse_nested(given)
    values = {**values, **overrides, "parameters": {**given, **parameters}}
    if config is not None and "strategy" not in overrides:
        values["strategy"] = _beside(config, values.get("strategy"))
    if "strategy" not in values:
        raise UsageError(
            "Which strategy?", hint="Say --strategy sma, or give a YAML file that names one."
        )
    try:
        return RunRequest.model_validate(values)
    except ValidationError as error:
        raise InvalidConfigError(
            f"The run is not valid: {faults_text(error)}.",
            hint="`ntrader run --help` lists what can be set.",
        ) from error


def _refuse_nested(parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if not isinstance(value, int | float | bool | str):
            raise InvalidConfigError(
                f"The parameter {name} is no number, truth value or text.",
                hint="Parameters are flat: one `name: value` a line.",
            )


def _beside(config: Path, strategy: Any) -> Any:
    """Read a strategy's file, if it is one, from where the configuration lies."""
    if not isinstance(strategy, str):
        return strategy
    in_file = ClassInFile.parse(strategy)
    if in_file is None:
        return strategy
    return str(replace(in_file, path=config.parent / in_file.path.expanduser()))


def snapshot_of(run: BacktestRun) -> ConfigSnapshot:
    """Return the snapshot that a run was saved with.

    Raises:
        InvalidConfigError: another version of ntrader wrote it, in a form that is not known here.
    """
    try:
        return ConfigSnapshot.model_validate(run.snapshot)
    except ValidationError as error:
        raise InvalidConfigError(
            f"The configuration of run {run.run_id} is not one that this ntrader reads.",
            hint="It was saved by another version; `ntrader show RUN --config --json` prints it.",
        ) from error
