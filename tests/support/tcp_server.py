"""A PostgreSQL that is reached as a real server is: over TCP, with a password."""

import os
import secrets
import shutil
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ntrader.storage.embedded.binaries import Programs, programs_for
from ntrader.storage.embedded.cluster import DATABASE, USER, Cluster
from ntrader.storage.embedded.layout import Layout, locate
from ntrader.storage.embedded.waiting import wait_until
from support.homes import reachable_base

_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class TcpServer:
    """A running server. Its user is a superuser and may create databases."""

    url: str
    layout: Layout
    programs: Programs
    settings: Mapping[str, str]

    def start(self) -> None:
        """Start the server again after `halt` or `kill`."""
        Cluster(self.layout, durable=False, settings=self.settings).start(self.programs)

    def halt(self) -> None:
        """Stop the server as an administrator does; its files stay."""
        assert Cluster(self.layout).stop()

    def kill(self) -> None:
        """Kill the server; its files stay as they are."""
        cluster = Cluster(self.layout)
        pid = cluster.ready_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Until it is gone it seems to serve, and would not be started again.
        assert wait_until(lambda: cluster.ready_pid() is None, 60)

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self.halt()
        shutil.rmtree(self.layout.base)


def start_tcp_server(directory: Path, **settings: str) -> TcpServer:
    """Start a server on 127.0.0.1 and a free port, with its files in `directory` if it may.

    The embedded server's programs serve, with scram-sha-256 for the password, and nothing is
    synced to disk. `settings` are of the server.
    """
    account = locate(directory).account
    base = reachable_base(directory, account)
    layout = Layout(locks=base, base=base, account=account)
    programs = programs_for(account)
    port, password = free_port(), secrets.token_hex(8)

    local = Cluster(layout, durable=False)
    local.start(programs)
    local.stop()
    local.execute(programs, f"ALTER ROLE {USER} PASSWORD '{password}'")
    (layout.data / "pg_hba.conf").write_text(_ACCESS)
    listening = {"listen_addresses": "127.0.0.1", "port": str(port), **settings}
    url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
    server = TcpServer(url, layout, programs, listening)
    server.start()
    return server


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
