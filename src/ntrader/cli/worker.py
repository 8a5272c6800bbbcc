"""`ntrader worker`, and what it shares with `ntrader serve`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.errors import UsageError

if TYPE_CHECKING:
    from ntrader.services.webhooks import WebhookPolicy

_EXTRA = ("fastapi", "httpx", "procrastinate", "prometheus_client", "psycopg", "uvicorn")

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
            hint="Install ntrader with its extra, as by `uv tool install '.[server]'`.",
        )


def webhook_policy(app: App) -> WebhookPolicy:
    """Return how the user wants webhooks to be used."""
    from ntrader.services.webhooks import WebhookPolicy

    return WebhookPolicy(private_allowed=app.settings.webhook_private)


@contextmanager
def traced(app: App) -> Iterator[None]:
    """Send traces of the block, where the environment says where to."""
    from ntrader import tracing

    if not tracing.wanted(os.environ):
        yield
        return
    if not tracing.installed():
        app.note("There are no traces: install them with `pip install 'ntrader[otel]'`.")
        yield
        return
    tracing.configure()
    try:
        yield
    finally:
        tracing.close()


@click.command()
@slots_option
@grace_option
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    help="Answer /metrics for Prometheus on this port; 0 takes a free one.",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    help="The address for that. Whoever reaches it reads the metrics: there is no key.",
)
@click.option("--check", is_flag=True, help="Only tell whether a worker of this machine works.")
@pass_app
def worker(
    app: App, slots: int, grace: float, metrics_port: int | None, metrics_host: str, check: bool
) -> None:
    """Carry out the runs that the service has accepted, until Ctrl-C or SIGTERM.

    Needs the extra `server`. Any number of workers may run, on any number of machines that share
    the database and NTRADER_HOME.

    \b
    ntrader worker --slots 4 --metrics-port 9465
    ntrader worker --check
    """
    require_extra()
    if check:
        from ntrader.services.jobs_heard import check_worker

        app.say(app.call(check_worker))
        return
    from ntrader.api.serving import Working, work

    working = Working(
        slots=slots,
        grace_seconds=grace,
        webhooks=webhook_policy(app),
        metrics_host=metrics_host,
        metrics_port=metrics_port,
    )
    with traced(app):
        app.call(lambda workspace: work(workspace, working, ready=app.say), pooled=True)
