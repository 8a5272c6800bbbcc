"""Text that nobody should ever have to see, and what must never come of it."""

import json
import unicodedata

from support.commands import Result

ESCAPES = {
    "colour": "\x1b[31mred",
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "c1-csi": "\x9b31mred",
    "c1-osc": "\x9d0;owned\x9c",
    "bell": "a\x07b",
    "backspaces": "safe\x08\x08\x08\x08evil",
    "return": "safe\revil",
    "bidi": "\u202etxt.exe\u2066",
    "zero-width": "a\u200bb\u200dc\ufeffd",
    "line-separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "tags": "a\U000e0041b",
}
MARKUP = "[bold red]x[/] [link=http://evil.example]y[/link] :smile: [/nope]"
SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"

HOSTILE = "".join(ESCAPES.values()) + MARKUP + SCRIPT
SHORT = "\x1b[31m\x9b2J\u202e\u200b\x07[b]:bug:<b>"
"""All kinds at once, where there is room for 64 characters only."""


def assert_harmless(text: str) -> None:
    """Nothing in it drives a terminal, turns the reading direction or hides."""
    found = {
        f"U+{ord(char):04X}"
        for char in text
        if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    }
    assert not found, (found, text[:2_000])


def texts_of(document: str) -> set[str]:
    """Return every text in a JSON document, its keys too."""

    def walk(value: object) -> set[str]:
        match value:
            case str():
                return {value}
            case dict():
                return {*map(str, value), *(text for each in value.values() for text in walk(each))}
            case list():
                return {text for each in value for text in walk(each)}
        return set()

    return walk(json.loads(document))


DOCUMENTED = frozenset(range(6))


def assert_told(result: Result) -> None:
    """It gave a result or a clear error: no traceback, no undocumented exit code, no control."""
    said = result.stdout + result.stderr
    assert result.exit_code in DOCUMENTED, result
    assert "Traceback" not in result.stderr, result.stderr
    assert "Internal error" not in said, said
    assert_harmless(said)
    if result.exit_code not in (0, 5):
        assert said.strip(), "it failed without a word"
