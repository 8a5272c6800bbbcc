"""Database URLs, in the spellings that people have."""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ntrader.errors import InvalidConfigError

CONNECT_SECONDS = 10.0

_SCHEME = re.compile(r"postgres(ql)?(\+\w+)?", re.IGNORECASE)
_SSL = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
_SECRET = frozenset({"password", "sslpassword"})
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
    """

    dsn: str = field(repr=False)
    redacted: str
    connect_seconds: float = CONNECT_SECONDS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL with the scheme postgres or postgresql, with or without a `+driver`.

        Raises:
            InvalidConfigError: it is not the URL of a PostgreSQL database.
        """
        try:
            parts = urlsplit(text.strip())
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            seconds = float(query.pop("connect_timeout", 0)) or CONNECT_SECONDS
        except ValueError:
            # Without the cause, whose message may quote the password.
            raise _invalid("it is not a URL") from None
        if not _SCHEME.fullmatch(parts.scheme):
            raise _invalid("it does not begin with postgresql://")
        if parts.fragment:
            raise _invalid("a # in it must be written %23")
        options = _options(query)
        shown = {key: value for key, value in options.items() if key not in _SECRET}
        login, at, host = parts.netloc.rpartition("@")
        user, colon, password = (_quoted(part) for part in login.partition(":"))
        return cls(
            _joined(f"{user}{colon}{password}{at}{host}", parts.path, options),
            _joined(f"{user}{at}{host}", parts.path, shown),
            seconds,
        )

    def __str__(self) -> str:
        return self.redacted


def _options(query: dict[str, str]) -> dict[str, str]:
    options = {key: value for key, value in query.items() if key not in _FOREIGN}
    if (ssl := options.pop("ssl", None)) is not None:
        options.setdefault("sslmode", _SSL.get(ssl.lower(), ssl))
    if (schema := options.pop("schema", None)) is not None:
        options.setdefault("search_path", schema)
    return options


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
