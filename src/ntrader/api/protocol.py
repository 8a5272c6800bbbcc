"""HTTP as the service speaks it: what is no HTTP is refused like everything else."""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ntrader.api.problems import ProblemError


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose own refusal would be a plain text."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, a request line of 64 kB among it, and end the connection."""
        refusal = ProblemError(HTTPStatus.BAD_REQUEST, msg, code="invalid_request").response(None)
        headers = [*refusal.raw_headers, (b"connection", b"close")]
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            + b"".join(b"%s: %s\r\n" % header for header in headers)
            + b"\r\n"
            + bytes(refusal.body)
        )
        self.transport.close()
