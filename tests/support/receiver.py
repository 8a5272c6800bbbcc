"""An address that webhooks are sent to: what came, and what it answers."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with `answers` one after the other, and then with 200.

    As long as `held` is set it answers nothing.
    """

    url: str
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)
    endless: bool = False

    def at(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Give an address on loopback."""
    found: Receiver
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.received.append(Received(self.path, headers, body))
            while found.held.is_set() and not stopping.wait(0.05):
                pass
            self.send_response(found.answers.pop(0) if found.answers else 200)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self._go_on()

        def _go_on(self) -> None:
            try:
                while found.endless and not stopping.is_set():
                    self.wfile.write(b"x" * 65_536)
            except OSError:
                return

        def log_message(self, *_arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    found = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def deliveries_of(told: Receiver) -> dict[str, set[str]]:
    """Return the ids of the deliveries that told of each run."""
    found = defaultdict(set)
    for each in told.received:
        run_id = json.loads(each.body)["run"]["run_id"]
        found[run_id].add(each.headers["ntrader-delivery"])
    return found
