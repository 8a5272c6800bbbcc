"""Settings: from the environment, `.env` and the user's configuration file.

Only entry points read them; everything below gets what it needs as arguments.
"""

from pathlib import Path
from typing import Literal

from platformdirs import user_config_path, user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ntrader.domain.faults import faults_text
from ntrader.errors import InvalidConfigError


def config_file() -> Path:
    """Return the path of the user's configuration file, whether it exists or not."""
    return user_config_path("ntrader") / "config.toml"


class Settings(BaseSettings):
    """What the user set, the environment first.

    `database_url` is None where the embedded server is meant.
    """

    model_config = SettingsConfigDict(
        env_prefix="NTRADER_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("NTRADER_DATABASE_URL", "DATABASE_URL")
    )
    home: Path = Field(default_factory=lambda: user_data_path("ntrader"))
    pg_bin: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "WARNING"
    log_format: Literal["console", "json"] = "console"

    @field_validator("database_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the user's TOML file behind the environment and `.env`."""
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            TomlConfigSettingsSource(settings_cls, config_file()),
        )


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        InvalidConfigError: a value is not valid; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidConfigError(
            f"The settings are not valid: {faults_text(error)}.",
            hint=f"Look at the environment, at .env and at {config_file()}.",
        ) from error
