"""The state of the git repository that a strategy's file lies in, read without running its code.

A repository's configuration can name programs: filters, a file-system monitor, hooks, pagers, diff
drivers, transports. None is run. Git is asked for names and object ids only, with all of that
turned off, and contents are read and hashed here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5.0
LARGEST_UNTRACKED = 10_000_000
UNKNOWN = "unknown"

_SAFE = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.untrackedCache": "false",
    # A partial clone would fetch what it lacks.
    "protocol.allow": "never",
}
_SUBMODULE = b"160000"
_CHUNK = 1 << 20

type _Entry = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckoutState:
    """A commit, and the sha256 of what is not committed.

    `changes` is None for a clean working copy, and `unknown` where reading it took too long.
    """

    commit: str
    changes: str | None


class _TooSlowError(Exception):
    """The time that may be spent on a repository is over."""


def checkout_state(file: Path, *, seconds: float = SECONDS) -> CheckoutState | None:
    """Return the state of the repository around `file`.

    None outside of a repository, in one without a commit or of another owner, and without git.
    """
    git = _Git(file.resolve().parent, seconds)
    try:
        commit = git.line("rev-parse", "--quiet", "--verify", "HEAD")
        git.directory = Path(git.line("rev-parse", "--show-toplevel"))
    except (OSError, subprocess.CalledProcessError, _TooSlowError):
        return None
    try:
        return CheckoutState(commit=commit, changes=_changes(git))
    except (OSError, subprocess.CalledProcessError, _TooSlowError):
        return CheckoutState(commit=commit, changes=UNKNOWN)


def _changes(git: _Git) -> str | None:
    """Return the sha256 over the path, mode and content of each changed file; None if none is.

    A file counts as changed where the working copy differs from HEAD, staged or not. What git
    ignores is left out.
    """
    git.turn_off_filters()
    entries = sorted((*_tracked(git), *_untracked(git)))
    if not entries:
        return None
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(b"\0".join(entry) + b"\0\n")
    return digest.hexdigest()


def _tracked(git: _Git) -> Iterator[_Entry]:
    fields = git.names(
        "diff-index", "--raw", "-z", "--no-renames", "--ignore-submodules=dirty", "HEAD", "--"
    )
    for about, path in zip(fields[::2], fields[1::2], strict=True):
        old_mode, mode, old_id, new_id, _ = about.removeprefix(b":").split(b" ")
        if mode == _SUBMODULE:
            yield path, mode, new_id
            continue
        content, blob_id = _hashes(git, path, git_algorithm=_algorithm(old_id))
        # Touched only, or staged and taken back: what would run is what is committed.
        if (mode, blob_id) != (old_mode, old_id):
            yield path, mode, content


def _untracked(git: _Git) -> Iterator[_Entry]:
    for path in git.names("ls-files", "--others", "--exclude-standard", "-z"):
        yield path, b"untracked", _hashes(git, path, limit=LARGEST_UNTRACKED)[0]


def _hashes(
    git: _Git, path: bytes, *, git_algorithm: str = "sha1", limit: int | None = None
) -> tuple[bytes, bytes]:
    """Return the sha256 of a file in the working copy, and its id as git would store it.

    Of a file above `limit` bytes only the size counts. What is neither a file nor a link, or gone,
    has no content.
    """
    file = os.fsencode(git.directory) + b"/" + path
    try:
        status = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return b"gone", b""
    if stat.S_ISLNK(status.st_mode):
        chunks: Iterator[bytes] = iter([os.readlink(file)])
    elif not stat.S_ISREG(status.st_mode):
        return b"no file", b""
    elif limit is not None and status.st_size > limit:
        return f"{status.st_size} bytes".encode(), b""
    else:
        chunks = _chunks(git, file)
    plain = hashlib.sha256()
    blob = hashlib.new(git_algorithm, f"blob {status.st_size}\0".encode(), usedforsecurity=False)
    for chunk in chunks:
        plain.update(chunk)
        blob.update(chunk)
    return plain.hexdigest().encode(), blob.hexdigest().encode()


def _chunks(git: _Git, file: bytes) -> Iterator[bytes]:
    with open(file, "rb") as opened:
        while chunk := opened.read(_CHUNK):
            git.seconds_left()
            yield chunk


def _algorithm(object_id: bytes) -> str:
    return "sha256" if len(object_id) == hashlib.sha256().digest_size * 2 else "sha1"


class _Git:
    """Git in one directory, with a limit on the time that all of its commands take together."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self.directory = directory
        self._deadline = time.monotonic() + seconds
        self._config = dict(_SAFE)

    def line(self, *arguments: str) -> str:
        """Return the one line that a command prints."""
        return os.fsdecode(self._run(*arguments)).removesuffix("\n")

    def names(self, *arguments: str) -> list[bytes]:
        """Return what a command prints with NULs between."""
        return self._run(*arguments).split(b"\0")[:-1]

    def turn_off_filters(self) -> None:
        """Give every configured filter an empty command, which git takes for none."""
        try:
            keys = self.names("config", "--name-only", "-z", "--get-regexp", r"^filter\.")
        except subprocess.CalledProcessError:
            return  # there are none
        for key in keys:
            name = os.fsdecode(key).rpartition(".")[0]
            self._config |= {
                f"{name}.clean": "",
                f"{name}.smudge": "",
                f"{name}.process": "",
                f"{name}.required": "false",
            }

    def seconds_left(self) -> float:
        """Return how much time is left.

        Raises:
            _TooSlowError: none.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _TooSlowError
        return left

    def _run(self, *arguments: str) -> bytes:
        try:
            done = subprocess.run(
                ["git", "--no-pager", *arguments],  # noqa: S607
                cwd=self.directory,
                env=_environment(self._config),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
                timeout=self.seconds_left(),
            )
        except subprocess.TimeoutExpired as error:
            raise _TooSlowError from error
        return done.stdout


def _environment(config: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without GIT_* of the user's, in which `config` overrides all files."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = {
        f"GIT_CONFIG_{part}_{number}": text
        for number, pair in enumerate(config.items())
        for part, text in zip(("KEY", "VALUE"), pair, strict=True)
    }
    return {
        **inherited,
        "GIT_CONFIG_COUNT": str(len(config)),
        **settings,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
