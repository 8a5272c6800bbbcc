"""Documents: the JSON objects that users and other programs get. Their keys are a contract.

Each concept has its own module of them, as `run_documents`; what all of them share is here.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ntrader.domain.identity import instant_text
from ntrader.errors import NtraderError


def error_document(error: NtraderError) -> dict[str, Any]:
    """Return an error."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


_PLAIN_ALREADY = frozenset({bool, float, int, str, type(None)})


def number(value: Decimal) -> int | float:
    """Return a decimal as a JSON number: an integer where it is one."""
    return int(value) if value == value.to_integral_value() else float(value)


def plain(value: Any) -> Any:
    """Return a domain's scalar as JSON."""
    if type(value) in _PLAIN_ALREADY:
        # Nearly every one, and a page of runs has hundreds.
        return value
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return instant_text(value)
    return value
