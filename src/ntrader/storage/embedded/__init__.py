"""The PostgreSQL server that comes with the package: the last user of it stops it."""

from ntrader.storage.embedded.server import (
    EmbeddedServer,
    ServerAddress,
    ServerStatus,
    StopOutcome,
)

__all__ = ["EmbeddedServer", "ServerAddress", "ServerStatus", "StopOutcome"]
