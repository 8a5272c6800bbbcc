"""What pydantic found wrong, in a user's words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_TOLD = 10
_LONGEST = 200


def faults(error: "ValidationError") -> list[tuple[str, str]]:
    """Return each fault as the name of what is wrong (empty for a whole) and what is wrong."""
    return [
        (".".join(map(str, fault["loc"])), _message(fault["type"], fault["msg"]))
        for fault in error.errors(include_url=False, include_input=False)
    ]


def faults_text(error: "ValidationError") -> str:
    """Return the faults in one line, the first ones where there are many."""
    found = faults(error)
    told = [
        f"{_shortened(name)}: {_shortened(text)}" if name else _shortened(text)
        for name, text in found[:_TOLD]
    ]
    more = [f"and {len(found) - _TOLD:,} more"] if len(found) > _TOLD else []
    return "; ".join([*told, *more])


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such name"
    plain = message.removeprefix("Value error, ").removeprefix("Input ")
    # "should be a valid integer, unable to parse string as an integer" says it twice.
    plain = plain.partition(", unable to")[0]
    return plain[:1].lower() + plain[1:]
