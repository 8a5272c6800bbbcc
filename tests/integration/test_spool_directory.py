"""Where data wait that do not fit into memory."""

from pathlib import Path

import pytest

from ntrader.services.workspace import Workspace


@pytest.mark.parametrize("home", [".", "new", "new/below"])
def test_it_is_on_the_disk_of_the_home_also_before_there_is_one(tmp_path: Path, home: str) -> None:
    workspace = Workspace(tmp_path / home)

    assert workspace.spool_directory == tmp_path
    assert list(tmp_path.iterdir()) == []

    workspace.home.mkdir(parents=True, exist_ok=True)
    assert workspace.spool_directory == workspace.home


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such directory here")
def test_it_is_the_systems_where_the_home_cannot_be_written_to() -> None:
    """Not even root writes there."""
    home = Path("/proc/self/home")

    assert Workspace(home).spool_directory is None


def test_a_home_that_is_given_from_here_is_below_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Workspace(Path("new")).spool_directory == tmp_path
