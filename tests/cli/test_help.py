"""Help: every command has it, and its examples stay lines of their own."""

import click
import pytest

from ntrader.cli.main import cli
from support.commands import Command


def every_command(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = [path]
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found += every_command(child, (*path, name))
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_explains_itself(ntrader: Command, path: tuple[str, ...]) -> None:
    shown = ntrader(*path, "--help")

    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: {' '.join(('ntrader', *path))}")
    assert "\\b" not in shown.stdout
    # An example that is folded into a paragraph stands behind other text.
    for line in shown.stdout.splitlines():
        assert line.find("  ntrader ") in (-1, 0) or "Start with:" in line


def test_the_version_is_told(ntrader: Command) -> None:
    assert ntrader("--version").stdout.startswith("ntrader 0.")
