"""Settings: from the environment, `.env` and the user's configuration file.

Only entry points read them; everything below gets what it needs as arguments. They are read by
hand: a settings library would take a sixth of the time of `ntrader history`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from platformdirs import user_config_path, user_data_path

from ntrader.errors import InvalidConfigError

type LogFormat = Literal["console", "json"]

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS: tuple[LogFormat, ...] = ("console", "json")

_DOTENV = Path(".env")


def config_file() -> Path:
    """Return the path of the user's configuration file, whether it exists or not."""
    return user_config_path("ntrader") / "config.toml"


def _default_home() -> Path:
    return user_data_path("ntrader")


@dataclass(frozen=True, slots=True)
class Found:
    """A value that is not checked yet, and where it was found: `NTRADER_HOME`, `home in FILE`."""

    value: Any
    place: str

    def text(self) -> str:
        """Return the value, which must be a text."""
        if not isinstance(self.value, str) or "\0" in self.value:
            # Without the value: it may hold a password.
            raise InvalidConfigError(f"{self.place} must be a text.")
        return self.value

    def path(self) -> Path:
        """Return the value as an absolute path."""
        path = Path(self.text())
        try:
            return path.expanduser().absolute()
        except RuntimeError as error:
            raise InvalidConfigError(f"{self.place}: {error}") from error

    def count(self) -> int:
        """Return the value as a whole number that is not negative."""
        if isinstance(self.value, int) and not isinstance(self.value, bool) and self.value >= 0:
            return self.value
        if isinstance(self.value, str) and self.value.isascii() and self.value.isdecimal():
            return int(self.value)
        raise InvalidConfigError(f"{self.place} must be a whole number, 0 or more.")

    def flag(self) -> bool:
        """Return the value as yes or no."""
        if isinstance(self.value, bool):
            return self.value
        return self.one_of(("true", "false"), self.text().lower()) == "true"

    def texts(self) -> tuple[str, ...]:
        """Return the value as texts: a list, or what commas part."""
        given = self.value if isinstance(self.value, list) else self.text().split(",")
        texts = [Found(each, self.place).text().strip() for each in given]
        return tuple(filter(None, texts))

    def one_of[T: str](self, choices: tuple[T, ...], value: str) -> T:
        """Return the one of `choices` that `value` names."""
        for choice in choices:
            if choice == value:
                return choice
        raise InvalidConfigError(
            f"{self.place} must be one of {', '.join(choices)}, not {self.value!r}."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the user set.

    `database_url` is None where the embedded server is meant. The service hears of changes on
    `listen_url` where a pooler stands before the database, and lists runs on `read_url` where there
    is a replica. URLs may hold a password and are never shown.

    A key may make `rate_limit` requests a minute (0: any number), web pages of `cors_origins` may
    make them too, and `webhook_private` allows webhooks to addresses that are not public.
    """

    database_url: str | None = field(default=None, repr=False)
    listen_url: str | None = field(default=None, repr=False)
    read_url: str | None = field(default=None, repr=False)
    home: Path = field(default_factory=_default_home)
    pg_bin: Path | None = None
    log_level: str = "WARNING"
    log_format: LogFormat = "console"
    rate_limit: int = 1_200
    cors_origins: tuple[str, ...] = ()
    webhook_private: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Found]) -> Self:
        """Return the settings that these values make, the defaults for the rest.

        Raises:
            InvalidConfigError: a value is not valid; the message names it and its place.
        """
        readers: dict[str, Callable[[Found], Any]] = {
            "database_url": Found.text,
            "listen_url": Found.text,
            "read_url": Found.text,
            "home": Found.path,
            "pg_bin": Found.path,
            "log_level": lambda each: each.one_of(LOG_LEVELS, each.text().upper()),
            "log_format": lambda each: each.one_of(LOG_FORMATS, each.text().lower()),
            "rate_limit": Found.count,
            "cors_origins": Found.texts,
            "webhook_private": Found.flag,
        }
        return cls(**{name: readers[name](value) for name, value in found.items()})


NAMES = tuple(each.name for each in fields(Settings))


def load_settings() -> Settings:
    """Read the settings: the environment wins over `.env`, and that over the configuration file.

    Raises:
        InvalidConfigError: a file cannot be read or a value is not valid; the message names it.
    """
    found = {
        **dict(_from_file(config_file())),
        **dict(_from_variables(_read_dotenv(), f" in {_DOTENV}")),
        **dict(_from_variables(os.environ, "")),
    }
    return Settings.of(found)


def _from_variables(variables: Mapping[str, str | None], where: str) -> Iterator[tuple[str, Found]]:
    """Yield what the variables set; an empty one sets nothing."""
    for name in NAMES:
        own = f"NTRADER_{name.upper()}"
        for variable in (own, "DATABASE_URL") if name == "database_url" else (own,):
            if value := variables.get(variable):
                yield name, Found(value, f"{variable}{where}")
                break


def _from_file(path: Path) -> Iterator[tuple[str, Found]]:
    if not path.is_file():
        return
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    for name, value in document.items():
        if name not in NAMES:
            raise InvalidConfigError(
                f"There is no setting {name!r} in {path}.", hint=f"There are: {', '.join(NAMES)}."
            )
        yield name, Found(value, f"{name} in {path}")


def _read_dotenv() -> Mapping[str, str | None]:
    if not _DOTENV.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return dotenv_values(_DOTENV)
    except (OSError, ValueError) as error:
        raise _unreadable(_DOTENV, error) from error


def _unreadable(path: Path, error: Exception) -> InvalidConfigError:
    return InvalidConfigError(
        f"The settings in {path} cannot be read: {error}.",
        hint="Mend the file, or move it away to do without it.",
    )
