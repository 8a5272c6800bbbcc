"""`ntrader serve`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.worker import (
    grace_option,
    require_extra,
    slots_option,
    traced,
    webhook_policy,
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option("--with-worker", is_flag=True, help="Carry out runs too: all on one machine.")
@slots_option
@grace_option
@pass_app
def serve(app: App, host: str, port: int, with_worker: bool, slots: int, grace: float) -> None:
    """Serve the API over HTTP, until Ctrl-C or SIGTERM.

    Needs the extra `server`. /api/v1/docs describes every request. Without keys (see
    `ntrader keys`) it answers on this machine only.

    \b
    ntrader serve --with-worker
    ntrader serve --port 9000
    """
    require_extra()
    from ntrader.api.keys import AccessOptions
    from ntrader.api.serving import Serving, new_loop
    from ntrader.api.serving import serve as serve_api

    serving = Serving(
        host=host,
        port=port,
        worker_slots=slots if with_worker else None,
        grace_seconds=grace,
        access=AccessOptions(
            requests_per_minute=app.settings.rate_limit, origins=app.settings.cors_origins
        ),
        webhooks=webhook_policy(app),
    )

    def ready(address: str) -> None:
        app.say(f"Serving on {address}/api/v1 (its documentation: {address}/api/v1/docs).")

    with traced(app):
        app.call(
            lambda workspace: serve_api(workspace, serving, ready=ready),
            pooled=True,
            loop=new_loop,
        )
