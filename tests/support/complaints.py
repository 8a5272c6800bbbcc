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


def waiting(home: Path) -> list[str]:
    """Return the runs in the journal: those that were begun and are not saved.

    Work on files that the next command settles is there as well, and is no run.
    """
    entries = (home / "journal").glob("*")
    return [path.name for path in entries if b'"unfinished":' not in path.read_bytes()]
