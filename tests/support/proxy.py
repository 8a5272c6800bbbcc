"""A TCP proxy before a PostgreSQL, which does to connections what a bad network does."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

_CHUNK = 1 << 16


class Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.silent = threading.Event()
        self._cut_at_reply = False

    def cut(self) -> None:
        """End both connections at once."""
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut_at_reply(self) -> None:
        """Let the request pass, and end the connections in place of the reply."""
        self._cut_at_reply = True

    def fall_silent(self) -> None:
        """Pass on nothing any more, in either direction, and leave the connections open."""
        self.silent.set()

    def reply(self, data: bytes) -> bool:
        """Return whether what the server says may pass."""
        if self._cut_at_reply:
            self.cut()
            return False
        return not self.silent.is_set()


type Action = Callable[[Link], object]


class Proxy:
    """Listens on 127.0.0.1 for a database that `url` names.

    `accepted` counts the connections. `on(marker, action)` has `action` done to the connection
    whose client sends the bytes `marker`, before they are passed on; `times` says how often.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = _address(parts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        self.url = f"postgresql://{login}@127.0.0.1:{self._port}{parts.path}?sslmode=disable"
        self.accepted = 0
        self.links: list[Link] = []
        self._rules: list[tuple[bytes, Action, list[int]]] = []
        self._replacements: list[tuple[bytes, bytes]] = []
        self._spawn(self._accept, self._listener)

    def on(self, marker: bytes, action: Action, *, times: int = 1) -> None:
        self._rules.append((marker, action, [times]))

    def replace(self, said: bytes, heard: bytes) -> None:
        """Have the client hear something else of the same length."""
        assert len(said) == len(heard)
        self._replacements.append((said, heard))

    def refuse(self) -> None:
        """Be down: end all connections and accept no more."""
        # Closing alone would leave the thread that accepts waiting in the kernel.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self.links:
            link.cut()

    def serve(self) -> None:
        """Accept connections again, after `refuse`."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._spawn(self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            family, address = self._upstream
            server = socket.socket(family, socket.SOCK_STREAM)
            link = Link(client, server)
            self.links.append(link)
            try:
                server.connect(address)
            except OSError:
                link.cut()
                continue
            self._spawn(self._to_server, link)
            self._spawn(self._to_client, link)

    def _to_server(self, link: Link) -> None:
        for data in _received(link.client):
            for marker, action, left in self._rules:
                if marker in data and left[0] > 0:
                    left[0] -= 1
                    action(link)
            if not link.silent.is_set():
                with contextlib.suppress(OSError):
                    link.server.sendall(data)
        if not link.silent.is_set():
            link.cut()

    def _to_client(self, link: Link) -> None:
        for data in _received(link.server):
            for said, heard in self._replacements:
                data = data.replace(said, heard)
            if link.reply(data):
                with contextlib.suppress(OSError):
                    link.client.sendall(data)
        if not link.silent.is_set():
            link.cut()

    @staticmethod
    def _spawn(work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()


@contextlib.contextmanager
def proxy_for(url: str) -> Iterator[Proxy]:
    """Give a proxy and close it."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.refuse()


def _received(connection: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := connection.recv(_CHUNK):
            yield data


def _address(parts: Any) -> tuple[int, Any]:
    query = parse_qs(parts.query)
    directory = query.get("host", [""])[0]
    port = parts.port or query.get("port", ["5432"])[0]
    if directory.startswith("/"):
        return socket.AF_UNIX, f"{directory}/.s.PGSQL.{port}"
    return socket.AF_INET, (parts.hostname or "127.0.0.1", int(port))
