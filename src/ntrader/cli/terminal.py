"""Text that comes from outside, on its way to a terminal, a program or a spreadsheet.

Names, notes, tags, messages and cells of files are somebody else's text. None of it may drive the
terminal (escape sequences, C1 controls, bidirectional overrides), hide itself (zero-width
characters), or be computed by a spreadsheet. See specs/security.md.
"""

from __future__ import annotations

import re
from typing import Any

REPLACEMENT = "?"

# The wide forms too: some spreadsheets read them as the narrow ones.
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def plain(text: str) -> str:
    """Return text with `?` for each character that is not to be seen; line feeds stay."""
    if text.isprintable():
        return text
    return "".join(char if _is_seen(char) else REPLACEMENT for char in text)


def json_text(document: dict[str, Any]) -> str:
    """Return a document as JSON: indented, no NaN, what can be seen as it is, all else escaped.

    Nothing is lost: a reader of JSON gets every character back.
    """
    import json

    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # Within a text JSON has no line feed: those that are there are the layout's.
    return "\n".join(
        line if line.isprintable() else "".join(map(_escaped, line)) for line in text.split("\n")
    )


def csv_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: such text gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _escaped(char: str) -> str:
    import json

    return char if char.isprintable() else json.dumps(char)[1:-1]


def _is_seen(char: str) -> bool:
    return char.isprintable() or char == "\n"
