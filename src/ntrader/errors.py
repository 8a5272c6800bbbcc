"""Every error that ntrader raises on purpose.

    NtraderError                        1  a fault
    ├── UsageError                      2  the request itself is wrong
    │   ├── InvalidConfigError
    │   ├── InvalidDataError               a file that is not clean market data
    │   ├── AmbiguousReferenceError
    │   └── CursorMismatchError
    ├── NotFoundError                   3  a run, dataset or strategy that is not there
    ├── DatabaseError                   1
    │   ├── DatabaseUnavailableError    4
    │   │   └── DatabaseBusyError
    │   └── SchemaError
    ├── DamagedError                    1  a stored file is not what was stored
    ├── ConflictError                   1  refused, because something else needs it as it is
    ├── NoVerdictError                  1  a reproduction that did not come to its end
    ├── JournalError                    1  what is begun cannot be written down
    └── MachineError                    1  a disk that is full, a file that may not be used

A message says what happened, a hint what to do next. The exit code belongs to the class.
TerminatedError stands beside the tree: it is no fault of anybody's.
"""

from typing import ClassVar


class NtraderError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "Something went wrong.").splitlines()[0]
        self.hint = hint
        super().__init__(self.message)

    @property
    def with_hint(self) -> str:
        """What happened, and what to do next where that is known, as one text."""
        return " ".join(filter(None, (self.message, self.hint)))


class UsageError(NtraderError):
    """The request cannot be carried out as it is written."""

    code = "usage"
    exit_code = 2


class InvalidConfigError(UsageError):
    """The configuration of the run is not valid."""

    code = "invalid_config"


class InvalidDataError(UsageError):
    """The file does not hold clean market data."""

    code = "invalid_data"


class AmbiguousReferenceError(UsageError):
    """The reference fits more than one thing."""

    code = "ambiguous"


class CursorMismatchError(UsageError):
    """The cursor belongs to another list."""

    code = "cursor_mismatch"


class NotFoundError(NtraderError):
    """There is nothing by that name."""

    code = "not_found"
    exit_code = 3


class DatabaseError(NtraderError):
    """The database refused the operation."""

    code = "database"


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached.

    `transient` says that the same may well succeed a moment later.
    """

    code = "database_unavailable"
    exit_code = 4

    def __init__(
        self, message: str | None = None, *, hint: str | None = None, transient: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class DatabaseBusyError(DatabaseUnavailableError):
    """The database did not get to it: somebody else is in the way, or it took too long."""

    code = "database_busy"


class SchemaError(DatabaseError):
    """The database's schema does not fit this version of ntrader."""

    code = "schema"


class DamagedError(NtraderError):
    """A stored file is not what was stored."""

    code = "damaged"


class ConflictError(NtraderError):
    """Something else still needs it."""

    code = "conflict"


class NoVerdictError(NtraderError):
    """The reproduction was interrupted, so there is no verdict."""

    code = "no_verdict"


class JournalError(NtraderError):
    """The journal cannot be used."""

    code = "journal"


class MachineError(NtraderError):
    """The machine refuses it."""

    code = "machine"


class TerminatedError(SystemExit):
    """A signal asks the process to end; like SystemExit it unwinds everything on its way."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)
