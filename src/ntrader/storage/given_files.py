"""Files that a user names, to be read."""

from pathlib import Path
from typing import IO

from ntrader.errors import NotFoundError, UsageError


def open_given(path: Path) -> IO[bytes]:
    """Open a file.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it cannot be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", hint="Check the path.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint="Check it.") from error
