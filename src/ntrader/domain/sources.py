"""The source of a strategy from a file: the file itself and the user's modules that it imports."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import Self

from ntrader.domain.identity import canonical_json, sha256_text
from ntrader.errors import DamagedError


@dataclass(frozen=True, kw_only=True)
class StrategySource:
    """The code that was loaded, byte for byte.

    `files` are by the path at which an import finds them: `signals.py`, `mylib/__init__.py`. The
    file that holds the strategy is `files[entry]`.

    Raises:
        DamagedError: a path leads out of the directory that it would be written to.
    """

    entry: str
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, name: str, content: bytes, modules: Mapping[str, bytes]) -> Self:
        """Return the source of a file of that name with the modules that it imports."""
        entry = name if _stays_below(name) else "strategy.py"
        return cls(entry=entry, files={**modules, entry: content})

    def __post_init__(self) -> None:
        if self.entry not in self.files:
            raise DamagedError(f"The kept source has no file {self.entry!r}.")
        for path in self.files:
            if not _stays_below(path):
                raise DamagedError(f"The kept source has a file at {path!r}, which is no place.")

    @cached_property
    def hash(self) -> str:
        """The identity of the code, in hex.

        The sha256 of the file, where it imports nothing of the user's. Else that of the canonical
        JSON of its sha256 and those of the modules by path, so that the name of the file itself,
        which no import depends on, is no part of it.
        """
        digests = self.digests
        own = digests.pop(self.entry)
        if not digests:
            return own
        return sha256_text(canonical_json({"entry": own, "modules": digests}))

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each file by its path."""
        return {
            path: hashlib.sha256(content).hexdigest()
            for path, content in sorted(self.files.items())
        }


def _stays_below(path: str) -> bool:
    """Whether `path` is relative, in its plain form, and leads nowhere else on any system."""
    windows = PureWindowsPath(path)
    return (
        path == str(PurePosixPath(path))
        and path.isprintable()
        and not (windows.is_absolute() or windows.drive or "\\" in path)
        and not path.startswith("/")
        and ".." not in windows.parts
        and path != "."
    )
