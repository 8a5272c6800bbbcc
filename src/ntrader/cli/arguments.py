"""What a command line asks for, also where it is wrong and no command runs."""

from collections.abc import Sequence

import click


def asks_for_json(root: click.Group, arguments: Sequence[str]) -> bool:
    """Whether `--json` is given as an option, and not as another's value or behind `--`.

    The arguments are read as the command itself would read them, but past what it refuses.
    """
    command: click.Command = root
    context = click.Context(root)
    rest = list(arguments)
    while isinstance(command, click.Group):
        # A group has flags only, so that the first other word names the command.
        name = next((word for word in rest if not word.startswith("-")), "")
        found = command.get_command(context, name)
        before = rest if found is None else rest[: rest.index(name)]
        if "--json" in _before_dashes(before):
            return True
        if found is None:
            return False
        rest = rest[len(before) + 1 :]
        command = found
    with command.make_context(
        command.name, rest, resilient_parsing=True, ignore_unknown_options=True
    ) as context:
        return bool(context.params.get("as_json"))


def _before_dashes(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments
