"""The command line's entry point. Importing this loads click and nothing else that is heavy."""

import gc
import importlib
import sys
from collections.abc import Sequence

import click

from ntrader.cli.app import App, CommandLineError, report
from ntrader.cli.arguments import asks_for_json
from ntrader.cli.machine import machine_faults
from ntrader.cli.signals import (
    InterruptedByUserError,
    end_at_once_when_interrupted,
    unwind_when_terminated,
)
from ntrader.cli.streams import escape_what_cannot_be_encoded, open_missing_streams

# name: (module:attribute, short help), so that `--help` needs no command's module.
_COMMANDS = {
    "run": ("ntrader.cli.run:run", "Run a backtest, show it and save it."),
    "history": ("ntrader.cli.history:history", "List saved runs, newest first."),
    "show": ("ntrader.cli.show:show", "Show one run."),
    "compare": ("ntrader.cli.compare:compare", "Show runs side by side."),
    "reproduce": ("ntrader.cli.reproduce:reproduce", "Run a run again: is it the same?"),
    "tag": ("ntrader.cli.tag:tag", "Put tags on a run."),
    "note": ("ntrader.cli.note:note", "Write a note on a run."),
    "delete": ("ntrader.cli.delete:delete", "Delete runs and their files."),
    "export": ("ntrader.cli.export:export", "Write runs to a file for another machine."),
    "import": ("ntrader.cli.import_:import_", "Take runs from such a file."),
    "data": ("ntrader.cli.data:data", "Import and look after market data."),
    "strategies": ("ntrader.cli.strategies:strategies", "Show what can be run."),
    "db": ("ntrader.cli.db:db", "Look after the database."),
    "serve": ("ntrader.cli.serve:serve", "Serve the API over HTTP."),
    "keys": ("ntrader.cli.keys:keys", "Make and revoke keys to the service."),
    "worker": ("ntrader.cli.worker:worker", "Carry out what the service has accepted."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a day's work."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ntrader", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Version control for backtests.

    Every run is saved by itself; find it, look at it, and prove later that it still holds.

    Start with:  ntrader run --strategy sma
    """
    ctx.ensure_object(App)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with machine_faults():
            result = cli.main(given, prog_name="ntrader", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        return report(InterruptedByUserError(), as_json=asks_for_json(cli, given))
    except click.ClickException as error:
        return report(CommandLineError.of(error), as_json=asks_for_json(cli, given))
    except Exception as error:
        return report(error, as_json=asks_for_json(cli, given))
    return result if isinstance(result, int) else 0


def entry_point() -> None:
    """Run as the installed command."""
    open_missing_streams()
    escape_what_cannot_be_encoded()
    unwind_when_terminated()
    exit_code = main()
    end_at_once_when_interrupted()
    # On its way out the interpreter would search all that was loaded for garbage, for nothing: a
    # quarter of `history`. What is still referenced is finalised as ever.
    gc.freeze()
    sys.exit(exit_code)
