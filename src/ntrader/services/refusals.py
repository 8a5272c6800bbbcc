"""Refusals of single fields of a request, for whoever shows a form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydantic import ValidationError

from ntrader.domain.faults import faults
from ntrader.errors import NotFoundError, UsageError


class RefusedFieldsError(UsageError):
    """Some fields of the request are not valid.

    `fields` are names (of nested ones the path, with `/`) and what is wrong with each.
    """

    code = "invalid_request"

    def __init__(
        self, message: str, fields: Sequence[tuple[str, str]], *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.fields = tuple(fields)


@contextmanager
def about(field: str) -> Iterator[None]:
    """Say of what is refused in the block that it is `field`, or what is wrong within it."""
    try:
        yield
    except (NotFoundError, UsageError) as error:
        cause = error.__cause__
        fields = [(field, error.message)]
        if isinstance(cause, ValidationError):
            fields = [
                ("/".join(filter(None, (field, name.replace(".", "/")))), text)
                for name, text in faults(cause)
            ]
        raise RefusedFieldsError(error.message, fields, hint=error.hint) from error
    except ValidationError as error:
        found = [(name.replace(".", "/") or field, text) for name, text in faults(error)]
        said = "; ".join(f"{name}: {text}" for name, text in found)
        raise RefusedFieldsError(f"The request is not valid: {said}.", found) from error
