"""Completion: what the shell offers, by the protocol that bash and zsh speak with us."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from support.processes import run_process

type SaveRun = Callable[..., UUID]
type Offered = Callable[..., list[str]]


@pytest.fixture
def offered(home: Path) -> Offered:
    """Return what is offered for the last of some words; `shell` is what asks."""

    def ask(*words: str, shell: str = "bash", database: str | None = None) -> list[str]:
        done = run_process(
            env={
                "_NTRADER_COMPLETE": f"{shell}_complete",
                "COMP_WORDS": " ".join(("ntrader", *words)),
                "COMP_CWORD": str(len(words)),
                **({} if database is None else {"DATABASE_URL": database}),
            },
        )
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if line]

    return ask


@pytest.fixture
def two_runs(save_run: SaveRun) -> list[str]:
    ids = [
        UUID("aaaa1111-0000-4000-8000-000000000000"),
        UUID("aabb1111-0000-4000-8000-000000000000"),
    ]
    return [str(save_run(run_id=run_id)) for run_id in ids]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hi"], ["plain,history"]),
        (["history", "--so"], ["plain,--sort"]),
        (["history", "--sort", "sh"], ["plain,sharpe_ratio"]),
        (["run", "--strategy", "mom"], ["plain,momentum"]),
        (["run", "--strategy", "mine.p"], ["file,mine.p"]),
        (["run", "--fill", "n"], ["plain,next-open"]),
        (["data", "ver"], ["plain,verify"]),
    ],
    ids=" ".join,
)
def test_words_are_completed(offered: Offered, words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


@pytest.mark.parametrize("command", ["show", "compare", "reproduce", "tag", "note", "delete"])
def test_ids_of_runs_are_completed(
    offered: Offered, two_runs: list[str], database_url: str, command: str
) -> None:
    assert offered(command, "aab", database=database_url) == ["plain,aabb1111"]


def test_an_id_is_completed_from_nothing_and_beyond_eight_characters(
    offered: Offered, two_runs: list[str], database_url: str
) -> None:
    every = offered("show", "", database=database_url)

    assert every == ["plain,aabb1111", "plain,aaaa1111"]
    whole = offered("show", two_runs[0][:12], database=database_url)
    assert whole == [f"plain,{two_runs[0][:12]}"]
    assert offered("show", "zz", database=database_url) == []


def test_zsh_is_told_what_a_run_is(
    offered: Offered, two_runs: list[str], database_url: str
) -> None:
    lines = offered("show", "aab", shell="zsh", database=database_url)

    assert lines[:2] == ["plain", "aabb1111"]
    assert "sma IBM 12.35%" in lines[2]


def test_names_of_datasets_are_completed(
    offered: Offered, two_runs: list[str], database_url: str
) -> None:
    assert offered("data", "show", "ibm", database=database_url) == ["plain,ibm-daily"]


def test_nothing_is_started_or_said_where_there_is_no_database(
    offered: Offered, home: Path
) -> None:
    assert offered("show", "aa") == []
    assert list(home.iterdir()) == []
    assert offered("show", "aa", database="postgresql://nobody@127.0.0.1:1/none") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    program = tmp_path / "ntrader"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ntrader "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_NTRADER_COMPLETE=bash_source ntrader)"; complete -p ntrader >&2;'
        "COMP_WORDS=(ntrader hist); COMP_CWORD=1; _ntrader_completion ntrader; echo $COMPREPLY"
    )

    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )

    assert done.stdout == "history\n"
    assert "_ntrader_completion ntrader" in done.stderr
