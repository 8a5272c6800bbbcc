"""What pydantic found wrong, in a user's words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def faults_text(error: "ValidationError") -> str:
    """Return each fault as `name: what is wrong`, in one line."""
    return "; ".join(
        f"{name}: {message}" if name else message
        for name, message in (
            (".".join(map(str, fault["loc"])), _message(fault["type"], fault["msg"]))
            for fault in error.errors(include_url=False, include_input=False)
        )
    )


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such setting"
    plain = message.removeprefix("Value error, ").removeprefix("Input ")
    return plain[:1].lower() + plain[1:]
