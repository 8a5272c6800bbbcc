"""Database URLs, in the spellings that people have."""

import math
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ntrader.errors import InvalidConfigError
from ntrader.storage.timeouts import CONNECT_SECONDS, OPERATION_SECONDS

_SCHEME = re.compile(r"postgres(ql)?(\+\w+)?", re.IGNORECASE)
_SSL = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
_TRUE = frozenset({"true", "1", "yes", "on"})
_SECRET = frozenset({"password", "sslpassword"})
_SHORTEST_SECRET = 4
# What is shown of the options. Any other may be the rest of a password with an & in it.
_SHOWN = frozenset(
    {
        "application_name",
        "dbname",
        "host",
        "idle_in_transaction_session_timeout",
        "lock_timeout",
        "options",
        "passfile",
        "port",
        "search_path",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "statement_timeout",
        "target_session_attrs",
        "user",
    }
)
_PORT_NUMBER = (
    r"0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_PORTED = re.compile(rf"(\[[^\]]*\]|[^:\[\]]*)(:({_PORT_NUMBER})?)?")
_PORT = "5432"
# Options of other drivers, which asyncpg would pass to the server as settings.
_FOREIGN = frozenset(
    {
        "async_fallback",
        "channel_binding",
        "client_encoding",
        "connection_limit",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "pgbouncer",
        "pool_timeout",
        "prepared_statement_cache_size",
        "tcp_user_timeout",
    }
)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is, in the form that asyncpg takes.

    `dsn` may hold a password and is never shown; the text of this value is the URL without one.
    `settings` are the names of the server's settings that the URL gives. With `pgbouncer=true` a
    pooler gives out its server's connections by the transaction (`is_pooler`).
    """

    dsn: str = field(repr=False)
    redacted: str
    connect_seconds: float = CONNECT_SECONDS
    command_seconds: float = OPERATION_SECONDS
    settings: frozenset[str] = frozenset()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    is_pooler: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL with the scheme postgres or postgresql, with or without a `+driver`.

        Raises:
            InvalidConfigError: it is not the URL of a PostgreSQL database.
        """
        try:
            parts = urlsplit(text.strip())
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            connect_seconds = _seconds(query, "connect_timeout", CONNECT_SECONDS)
            command_seconds = _seconds(query, "command_timeout", OPERATION_SECONDS)
        except ValueError:
            # Without the cause, whose message may quote the password.
            raise _invalid("it is not a URL") from None
        if not _SCHEME.fullmatch(parts.scheme):
            raise _invalid("it does not begin with postgresql://")
        if parts.fragment:
            raise _invalid("a # in it must be written %23")
        options = _options(query)
        if "@" in parts.path or ("@" in parts.query and "@" not in parts.netloc):
            raise _invalid("a / or ? of the user or the password must be percent-encoded")
        shown = {key: value for key, value in options.items() if key in _SHOWN}
        login, at, host = parts.netloc.rpartition("@")
        if not all(map(_PORTED.fullmatch, host.split(","))):
            raise _invalid("its port is no number up to 65535")
        user, colon, password = (_quoted(part) for part in login.partition(":"))
        return cls(
            _joined(f"{user}{colon}{password}{at}{host}", parts.path, options),
            _joined(f"{user}{at}{host}", parts.path, shown),
            connect_seconds,
            command_seconds,
            _settings(options),
            _secrets(password, query),
            query.get("pgbouncer", "").lower() in _TRUE,
        )

    def censored(self, text: str) -> str:
        """Return a text without the passwords of this URL."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    @property
    def place(self) -> str:
        """Which database it is, whoever uses it and however: host, port, name and search path."""
        parts = urlsplit(self.redacted)
        options = dict(parse_qsl(parts.query))
        user, _, host = parts.netloc.rpartition("@")
        host = host or options.get("host", "localhost")
        if ":" not in host.rpartition("]")[2]:
            host = f"{host}:{options.get('port', _PORT)}"
        name = parts.path.lstrip("/") or options.get("dbname") or user
        path = options.get("search_path")
        return f"{host.lower()}/{name}" + (f"?search_path={path}" if path else "")

    def __str__(self) -> str:
        return self.redacted


def censored(text: str, url: str) -> str:
    """Return a text without the passwords of a URL, whether that can be read or not."""
    try:
        return DatabaseUrl.parse(url).censored(text)
    except InvalidConfigError:
        # Nobody knows which part of it is the password.
        return text.replace(url, "***")


def _options(query: dict[str, str]) -> dict[str, str]:
    options = {key: value for key, value in query.items() if key not in _FOREIGN}
    if (ssl := options.pop("ssl", None)) is not None:
        options.setdefault("sslmode", _SSL.get(ssl.lower(), ssl))
    if (schema := options.pop("schema", None)) is not None:
        options.setdefault("search_path", schema)
    return options


def _seconds(query: dict[str, str], name: str, default: float) -> float:
    seconds = float(query.pop(name, 0))
    if not 0 <= seconds < math.inf:
        raise ValueError(name)
    return seconds or default


def _settings(options: dict[str, str]) -> frozenset[str]:
    # `options=-c work_mem=8MB -c jit=off` names settings as well.
    return frozenset({*options, *re.findall(r"([\w.]+)=", options.get("options", ""))})


def _secrets(password: str, query: dict[str, str]) -> frozenset[str]:
    """Return the passwords in every spelling, but for such that any text may contain."""
    plain = {unquote(password), *(query.get(name, "") for name in _SECRET)}
    spelled = {password, *plain, *(quote(each, safe=safe) for each in plain for safe in ("", "/"))}
    return frozenset(each for each in spelled if len(each) >= _SHORTEST_SECRET)


def _quoted(text: str) -> str:
    return quote(unquote(text), safe=":")


def _joined(netloc: str, path: str, options: dict[str, str]) -> str:
    query = urlencode(options, safe="/,:", quote_via=quote)
    return f"postgresql://{netloc}{path}{'?' if query else ''}{query}"


def _invalid(reason: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"The database URL cannot be used: {reason}.",
        hint="Write postgresql://user:password@host:5432/database, with every special character "
        "of the password percent-encoded.",
    )
