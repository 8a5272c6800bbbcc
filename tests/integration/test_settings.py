"""Settings, from where a user puts them."""

from pathlib import Path

import pytest

from ntrader.config import Settings, config_file, load_settings
from ntrader.errors import InvalidConfigError


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has set nothing, in a directory of his own."""
    for name in ("DATABASE_URL", "NTRADER_DATABASE_URL", "NTRADER_HOME", "NTRADER_PG_BIN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NTRADER_LOG_LEVEL", "NTRADER_LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ".local"))
    monkeypatch.chdir(tmp_path)


def write_config(text: str) -> Path:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(text)
    return config_file()


def test_nothing_set_means_the_embedded_server_in_the_data_directory(tmp_path: Path) -> None:
    settings = load_settings()

    assert settings.database_url is None
    assert settings.home.name == "ntrader"
    assert (settings.log_level, settings.log_format) == ("WARNING", "console")


def test_the_environment_wins_over_dotenv_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config('home = "/from/file"\nlog_level = "info"\nlog_format = "json"\n')
    Path(".env").write_text("NTRADER_HOME=/from/dotenv\nNTRADER_LOG_LEVEL=debug\n")
    monkeypatch.setenv("NTRADER_HOME", "/from/environment")

    assert load_settings() == Settings(
        home=Path("/from/environment"), log_level="DEBUG", log_format="json"
    )


def test_the_own_name_of_the_database_url_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://shared")
    assert load_settings().database_url == "postgresql://shared"

    monkeypatch.setenv("NTRADER_DATABASE_URL", "postgresql://own")
    assert load_settings().database_url == "postgresql://own"


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = load_settings()
    for name in ("DATABASE_URL", "NTRADER_HOME", "NTRADER_PG_BIN", "NTRADER_LOG_LEVEL"):
        monkeypatch.setenv(name, "")

    assert load_settings() == unset


def test_a_relative_home_and_a_tilde_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NTRADER_HOME", "here")
    monkeypatch.setenv("NTRADER_PG_BIN", "~/bin")

    settings = load_settings()

    assert (settings.home, settings.pg_bin) == (tmp_path / "here", tmp_path / "bin")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NTRADER_LOG_LEVEL", "loud", "NTRADER_LOG_LEVEL must be one of DEBUG, .*'loud'"),
        ("NTRADER_LOG_FORMAT", "xml", "NTRADER_LOG_FORMAT must be one of console, json"),
        ("NTRADER_HOME", "~nobody-of-that-name/x", "NTRADER_HOME"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidConfigError, match=said):
        load_settings()


def test_a_wrong_value_in_dotenv_names_the_file() -> None:
    Path(".env").write_text("NTRADER_LOG_LEVEL=loud\n")

    with pytest.raises(InvalidConfigError, match=r"NTRADER_LOG_LEVEL in \.env must be"):
        load_settings()


@pytest.mark.parametrize("text", ["home = ", "home = [", "\x00"])
def test_a_configuration_file_that_is_not_toml_is_refused_by_name(text: str) -> None:
    path = write_config(text)

    with pytest.raises(InvalidConfigError, match=str(path)):
        load_settings()


def test_files_that_are_not_text_are_refused_by_name() -> None:
    Path(".env").write_bytes(b"NTRADER_HOME=\xff\xfe")
    with pytest.raises(InvalidConfigError, match=r"\.env"):
        load_settings()

    Path(".env").unlink()
    write_config("")
    config_file().write_bytes(b"home = '\xff\xfe'")
    with pytest.raises(InvalidConfigError, match=r"config\.toml"):
        load_settings()


def test_a_setting_that_does_not_exist_is_refused_with_those_that_do() -> None:
    write_config('hom = "/x"\n')

    with pytest.raises(InvalidConfigError, match="no setting 'hom'") as caught:
        load_settings()
    assert "home" in (caught.value.hint or "")


def test_a_value_of_another_type_is_refused() -> None:
    write_config("home = 3\n")

    with pytest.raises(InvalidConfigError, match=r"home in .*config\.toml must be a text"):
        load_settings()


def test_no_database_url_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "NTRADER_LISTEN_URL", "NTRADER_READ_URL"):
        monkeypatch.setenv(name, "postgresql://me:secret@host/db")
    settings = load_settings()
    assert settings.listen_url == settings.read_url == settings.database_url
    assert "secret" not in repr(settings)

    monkeypatch.delenv("DATABASE_URL")
    write_config('database_url = "postgresql://me:secret\\u0000@host/db"\n')
    with pytest.raises(InvalidConfigError) as caught:
        load_settings()
    assert "secret" not in str(caught.value)
