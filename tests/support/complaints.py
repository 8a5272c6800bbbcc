"""What a user is told when something is refused."""

from pathlib import Path

from support.commands import Result

SECRET = "open-sesame"


def complaint_of(result: Result, exit_code: int) -> str:
    """Return the message of a command that was refused, which has a hint and shows no secret."""
    assert result.exit_code == exit_code, result
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr
    message, _, hint = result.stderr.partition("\n")
    assert message.startswith("Error: ")
    assert hint.strip(), "there is no hint"
    return result.stderr


def nothing_waits(home: Path) -> bool:
    """Return whether no run was begun: the journal is empty."""
    return not list((home / "journal").glob("*"))
