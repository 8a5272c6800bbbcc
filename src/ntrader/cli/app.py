"""What every command shares: settings, the store, output, and the boundary for errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from ntrader.cli.signals import run_until_terminated
from ntrader.cli.streams import OutputError, written_to
from ntrader.cli.terminal import csv_cell, json_text, plain
from ntrader.errors import NtraderError, UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from rich.console import Console, RenderableType

    from ntrader.config import Settings
    from ntrader.services.workspace import Workspace


class CommandLineError(UsageError):
    """The command line is not valid."""

    @classmethod
    def of(cls, error: click.ClickException) -> CommandLineError:
        """Translate click's error, with the help that would explain it as the hint."""
        context = getattr(error, "ctx", None)
        hint = None if context is None else f"See `{context.command_path} --help`."
        return cls(error.format_message(), hint=hint)


class App:
    """The state of one invocation."""

    @cached_property
    def settings(self) -> Settings:
        """The settings; reading them also sets up the logs."""
        from ntrader import logs
        from ntrader.config import load_settings

        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format)
        return settings

    @cached_property
    def console(self) -> Console:
        """Results, on stdout."""
        from ntrader.cli.consoles import PlainConsole

        return PlainConsole()

    @cached_property
    def notes(self) -> Console:
        """Hints and progress, on stderr."""
        from ntrader.cli.consoles import PlainConsole

        return PlainConsole(stderr=True)

    def call[T](
        self,
        service: Callable[[Workspace], Awaitable[T]],
        *,
        pooled: bool = False,
        loop: Callable[[], AbstractEventLoop] | None = None,
    ) -> T:
        """Run a service with an open workspace; the only place where an event loop starts.

        With `pooled` it keeps as many connections as a program that stays needs. `loop` makes the
        event loop, if it is not to be the usual one.
        """
        from ntrader.services.workspace import Workspace

        async def with_workspace() -> T:
            workspace = Workspace(
                self.settings.home,
                database_url=self.settings.database_url,
                pg_bin=self.settings.pg_bin,
                tell=self.note,
                pooled=pooled,
                # A command shows what the command before it has saved.
                listen_url=self.settings.listen_url if pooled else None,
                read_url=self.settings.read_url if pooled else None,
            )
            async with workspace:
                return await service(workspace)

        return run_until_terminated(with_workspace(), loop=loop)

    def show(self, renderable: RenderableType) -> None:
        """Print a result for a person."""
        with written_to(sys.stdout):
            self.console.print(renderable)

    def say(self, text: str, *, nl: bool = True) -> None:
        """Print a result that is text, as it is but for what could drive the terminal."""
        with written_to(sys.stdout):
            click.echo(plain(text), nl=nl)

    def show_json(self, document: dict[str, Any]) -> None:
        """Print a result for a program."""
        with written_to(sys.stdout):
            click.echo(json_text(document))

    @property
    def ascii_only(self) -> bool:
        """Whether stdout cannot show block characters."""
        return not (self.console.encoding or "").lower().startswith("utf")

    def show_csv(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a result for a spreadsheet."""
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([csv_cell(cell) for cell in row] for row in rows)
        # A file gets every character; a terminal only those that cannot drive it.
        shown = plain(text.getvalue()) if sys.stdout.isatty() else text.getvalue()
        with written_to(sys.stdout):
            click.echo(shown, nl=False, color=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is lost, on a terminal; elsewhere `--yes` must have been given.

        Raises:
            UsageError: the answer was no, or there is nobody to ask.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("Nothing was deleted.", hint="Add --yes to delete without a question.")
        if not click.confirm(question, err=True):
            raise UsageError("Nothing was deleted.")

    def complain(self, message: str, hint: str | None) -> None:
        """Tell of something that went wrong, on stderr."""
        _complain(message, hint)

    def note(self, text: str) -> None:
        """Print a hint for a person, on stderr."""
        from rich.text import Text

        with suppress(OutputError), written_to(sys.stderr):
            self.notes.print(Text(text), style="dim", soft_wrap=True)


pass_app = click.make_pass_decorator(App)


def report(error: Exception, *, as_json: bool) -> int:
    """Tell the user of an error and return the exit code.

    With `as_json` it is one object on stdout; else a message and a hint on stderr. An error that is
    not ntrader's own is a bug: its traceback goes to stderr, marked as such.
    """
    if not isinstance(error, NtraderError):
        import traceback

        with suppress(OutputError), written_to(sys.stderr):
            told = _censored("".join(traceback.format_exception(error)))
            click.echo(plain(told), err=True)
        error = NtraderError(
            _censored(f"Internal error: {type(error).__name__}: {error}"),
            hint="This is a bug in ntrader. Please report it with the traceback above.",
        )
    if as_json and not isinstance(error, OutputError):
        from ntrader.domain.documents import error_document

        with suppress(OutputError), written_to(sys.stdout):
            click.echo(json_text(error_document(error)))
    else:
        _complain(error.message, error.hint)
    return error.exit_code


def _censored(text: str) -> str:
    """Return what a bug says without the password of the database URL, which it may quote."""
    from ntrader.config import load_settings
    from ntrader.services.workspace import Workspace

    try:
        settings = load_settings()
    except NtraderError:
        # Without settings there was no database.
        return text
    workspace = Workspace(
        settings.home,
        database_url=settings.database_url,
        listen_url=settings.listen_url,
        read_url=settings.read_url,
    )
    return workspace.censored(text)


def _complain(message: str, hint: str | None) -> None:
    # Where even stderr fails there is nobody left to tell.
    with suppress(OutputError), written_to(sys.stderr):
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True, color=_colour())
        click.echo(plain(message), err=True)
        if hint:
            click.secho(plain(hint), dim=True, err=True, color=_colour())


def _colour() -> bool | None:
    """Return False where no colour is wanted; else click decides by the stream."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if unwanted else None
