"""A command as a user has it: arguments in, exit code and two streams out."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from ntrader.cli.main import main


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


type Command = Callable[..., Result]


def run_here(arguments: Iterable[object], capsys: pytest.CaptureFixture[str]) -> Result:
    """Run a command in this process."""
    exit_code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Result(exit_code, captured.out, captured.err)
