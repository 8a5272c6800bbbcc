"""The state of a git repository: what is told of it, and that nothing in it is run."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ntrader.services.checkout import LARGEST_UNTRACKED, UNKNOWN, CheckoutState, checkout_state

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

type Git = Callable[..., str]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "größer\nhere"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def git(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Run git in the directory, without the settings of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    identity = ["-c", "user.name=Quant", "-c", "user.email=quant@example.com"]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return run


@pytest.fixture
def repository(directory: Path, git: Git) -> Path:
    """A repository with one commit of two files, one of them below."""
    git("init", "--quiet")
    (directory / "lib").mkdir()
    (directory / "mine.py").write_text("x = 1\n")
    (directory / "lib" / "other.py").write_text("y = 1\n")
    (directory / ".gitignore").write_text("*.log\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "One")
    return directory


def state(directory: Path) -> CheckoutState:
    found = checkout_state(directory / "mine.py")
    assert found is not None
    return found


def test_a_clean_repository_has_its_commit(repository: Path, git: Git) -> None:
    assert state(repository) == CheckoutState(commit=git("rev-parse", "HEAD"), changes=None)


def test_a_file_below_is_of_the_same_repository(repository: Path) -> None:
    (repository / "mine.py").write_text("x = 2\n")

    assert checkout_state(repository / "lib" / "other.py") == state(repository)
    assert state(repository).changes is not None


def modify(directory: Path, git: Git) -> None:
    (directory / "mine.py").write_text("x = 2\n")


def stage(directory: Path, git: Git) -> None:
    (directory / "lib" / "other.py").write_text("y = 2\n")
    git("add", "lib/other.py")


def add(directory: Path, git: Git) -> None:
    (directory / "new\nname.py").write_text("z = 1\n")


def add_and_stage(directory: Path, git: Git) -> None:
    (directory / "staged.py").write_text("z = 1\n")
    git("add", "staged.py")


def remove(directory: Path, git: Git) -> None:
    (directory / "mine.py").unlink()


def make_executable(directory: Path, git: Git) -> None:
    (directory / "mine.py").chmod(0o755)


def link(directory: Path, git: Git) -> None:
    (directory / "mine.py").unlink()
    (directory / "mine.py").symlink_to("lib/other.py")


def rename(directory: Path, git: Git) -> None:
    git("mv", "mine.py", "yours.py")


CHANGES = [modify, stage, add, add_and_stage, remove, make_executable, link, rename]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_kind_of_change_is_told(
    repository: Path, git: Git, change: Callable[[Path, Git], None]
) -> None:
    change(repository, git)
    once = state(repository)

    assert once.changes is not None
    assert len(once.changes) == 64
    assert state(repository) == once
    (repository / "lib" / "other.py").write_text("y = 'more'\n")
    assert state(repository).changes != once.changes


def test_every_kind_of_change_is_another(repository: Path, git: Git) -> None:
    found = set()
    for change in CHANGES:
        change(repository, git)
        found.add(state(repository).changes)
        git("reset", "--quiet", "--hard")
        git("clean", "--quiet", "-fd")
    assert len(found) == len(CHANGES)


def test_staging_a_change_does_not_make_it_another(repository: Path, git: Git) -> None:
    modify(repository, git)
    before = state(repository)
    git("add", ".")

    assert state(repository) == before


def test_a_file_that_was_only_touched_is_no_change(repository: Path) -> None:
    os.utime(repository / "mine.py", (1, 1))

    assert state(repository).changes is None


def test_a_change_that_was_taken_back_is_no_change(repository: Path, git: Git) -> None:
    (repository / "mine.py").write_text("x = 2\n")
    git("add", ".")
    (repository / "mine.py").write_text("x = 1\n")

    assert state(repository).changes is None


def test_what_git_ignores_is_left_out(repository: Path) -> None:
    (repository / "run.log").write_text("noise")

    assert state(repository).changes is None


def test_of_a_large_untracked_file_only_the_size_counts(repository: Path) -> None:
    large = repository / "bars.bin"
    with large.open("wb") as file:
        file.truncate(LARGEST_UNTRACKED + 1)
    before = state(repository)

    with large.open("r+b") as file:
        file.write(b"x")
    assert state(repository) == before
    with large.open("ab") as file:
        file.write(b"x")
    assert state(repository) != before


def test_a_pipe_in_place_of_a_file_is_not_waited_for(repository: Path) -> None:
    (repository / "mine.py").unlink()
    os.mkfifo(repository / "mine.py")

    assert state(repository).changes is not None


def test_a_repository_that_takes_too_long_has_unknown_changes(repository: Path, git: Git) -> None:
    """No time is left after the commit is known: the fake git sleeps before it lists anything."""
    fake = repository.parent / "bin"
    fake.mkdir()
    real = shutil.which("git")
    (fake / "git").write_text(
        f'#!/bin/sh\ncase "$*" in *diff-index*) sleep 30;; esac\nexec {real} "$@"\n'
    )
    (fake / "git").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{fake}:{os.environ['PATH']}")

        found = checkout_state(repository / "mine.py", seconds=1)

    assert found == CheckoutState(commit=git("rev-parse", "HEAD"), changes=UNKNOWN)


# Where there is nothing to tell


def test_outside_of_a_repository_there_is_nothing(
    directory: Path, git: Git, capfd: pytest.CaptureFixture[str]
) -> None:
    assert checkout_state(directory / "mine.py") is None
    assert checkout_state(directory / "gone" / "mine.py") is None
    assert capfd.readouterr() == ("", "")


def test_a_repository_without_a_commit_has_nothing(
    directory: Path, git: Git, capfd: pytest.CaptureFixture[str]
) -> None:
    git("init", "--quiet")

    assert checkout_state(directory / "mine.py") is None
    assert capfd.readouterr() == ("", "")


def test_without_git_there_is_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))

    assert checkout_state(repository / "mine.py") is None


def test_a_damaged_repository_is_silent(
    repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (repository / ".git" / "index").write_bytes(b"not an index")

    assert state(repository).changes == UNKNOWN
    (repository / ".git" / "HEAD").write_text("nonsense")
    assert checkout_state(repository / "mine.py") is None
    assert capfd.readouterr() == ("", "")


# A repository that is not friendly


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a trace when it is run."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "setting",
    [
        "core.fsmonitor",
        "core.pager",
        "pager.diff",
        "diff.external",
        "diff.mine.command",
        "diff.mine.textconv",
        "filter.mine.clean",
        "filter.mine.smudge",
        "filter.mine.process",
        "filter.my.fil=ter.clean",
        "core.hooksPath",
        "core.sshCommand",
        "core.editor",
    ],
)
def test_no_program_of_the_repository_is_run(
    repository: Path, git: Git, trap: Path, setting: str
) -> None:
    value = trap
    if setting == "core.hooksPath":
        value = repository.parent / "hooks"
        value.mkdir()
        for name in ("post-index-change", "fsmonitor-watchman", "pre-commit"):
            shutil.copy(trap, value / name)
    git("config", setting, str(value))
    name = setting.removeprefix("filter.").rpartition(".")[0] if "filter" in setting else "mine"
    (repository / ".git" / "info" / "attributes").write_text(f"*.py diff=mine filter={name}\n")
    modify(repository, git)
    # A file as old as the index is one whose content git looks at.
    index = (repository / ".git" / "index").stat()
    for file in repository.rglob("*.py"):
        os.utime(file, ns=(index.st_mtime_ns, index.st_mtime_ns))

    assert state(repository).changes is not None
    assert not (trap.parent / "sprung").exists()


def test_the_trap_works(repository: Path, git: Git, trap: Path) -> None:
    """What the test above guards against does happen to a git that is asked without care."""
    git("config", "filter.mine.clean", str(trap))
    (repository / ".git" / "info" / "attributes").write_text("*.py filter=mine\n")
    modify(repository, git)

    git("diff", "HEAD")

    assert (trap.parent / "sprung").exists()


def test_the_environment_does_not_lead_to_another_repository(
    repository: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = state(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_TRACE", "1")

    assert state(repository) == expected
