"""`ntrader worker`, and what it shares with `ntrader serve`."""

from __future__ import annotations

import importlib.util

import click

from ntrader.cli.app import App, pass_app
from ntrader.errors import UsageError

_EXTRA = ("fastapi", "uvicorn", "procrastinate", "psycopg")

slots_option = click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many runs may go on at the same time.",
)
grace_option = click.option(
    "--grace",
    type=click.FloatRange(0, 3_600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to let runs end before they are given back to the queue.",
)


def require_extra() -> None:
    """Make sure that the extra `server` is installed.

    Raises:
        UsageError: it is not.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"The service is not installed: {', '.join(missing)}.",
            hint="Install it with `pip install 'ntrader[server]'`.",
        )


@click.command()
@slots_option
@grace_option
@pass_app
def worker(app: App, slots: int, grace: float) -> None:
    """Carry out the runs that the service has accepted, until Ctrl-C or SIGTERM.

    Needs the extra `server`. Any number of workers may run, on any number of machines that share
    the database and NTRADER_HOME.

    \b
    ntrader worker --slots 4
    """
    require_extra()
    from ntrader.api.serving import work

    def ready(name: str) -> None:
        app.say(f"Working as {name}, {slots} at a time.")

    app.call(
        lambda workspace: work(workspace, slots=slots, grace_seconds=grace, ready=ready),
        pooled=True,
    )
