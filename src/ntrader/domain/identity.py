"""Identity: canonical JSON and the digests that rest on it."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one JSON text that stands for `value`.

    Keys are sorted, no white space, non-ASCII kept, numbers as Python's shortest round-trip form.
    An integral float is written as an integer, so that `10` and `10.0` are one value.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is not JSON.
    """
    return json.dumps(
        _canonical(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def sha256_text(text: str) -> str:
    """Return the sha256 of `text` in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(config: dict[str, Any], *, engine: str, engine_version: str) -> str:
    """Return the identity of a question: what is run, on what data, by which engine.

    `config` is the `config` member of a configuration snapshot. Where it came from (file or
    command line, the strategy's place on disk, a dataset's name) is no part of the question.
    """
    question = {"config": config, "engine": engine, "engine_version": engine_version}
    return sha256_text(canonical_json(question))


def result_digest(lines: Iterable[str], equity: Iterable[bytes]) -> str:
    """Return the identity of an answer.

    `lines` are the fills and then the closed trades, each as text and in order; `equity` holds the
    points of the curve as little-endian int64 pairs of nanoseconds and ten-thousandths of currency,
    cut into parts anywhere.
    """
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    for part in equity:
        digest.update(part)
    return digest.hexdigest()


def decimal_text(value: Decimal) -> str:
    """Return the one text for a decimal: no exponent, no trailing zeros, no minus zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def instant_text(value: datetime) -> str:
    """Return an instant as ISO 8601 in UTC with a `Z`.

    Raises:
        ValueError: `value` is naive.
    """
    if value.tzinfo is None:
        raise ValueError("a naive datetime is not an instant")
    # Without its zone it is written in a fifth of the time.
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
