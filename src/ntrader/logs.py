"""Logs: structured, to stderr."""

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

type LogFormat = Literal["console", "json"]

_chosen: tuple[str, LogFormat] = ("WARNING", "console")


def configure(level: str, log_format: LogFormat) -> None:
    """Choose what is logged: from `level` (a name of the standard library's levels) up, and how.

    structlog itself waits for the first message, which most commands never write: it takes longer
    to load than the whole of `--help`.
    """
    global _chosen
    _chosen = (level, log_format)


def logger() -> "FilteringBoundLogger":
    """Return a logger of structlog's that writes to stderr as it was chosen."""
    return _logger(sys.stderr, *_chosen)


@lru_cache(maxsize=1)
def _logger(stream: TextIO, level: str, log_format: LogFormat) -> "FilteringBoundLogger":
    """Return a logger; making one takes longer than most messages, and a service asks for many."""
    import logging

    import structlog

    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    bound: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
    )
    return bound


def take_over(*names: str) -> None:
    """Write what libraries log by these names of the standard library's, warnings and worse."""
    import logging

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger().log(
                record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info
            )

    for name in names:
        library = logging.getLogger(name)
        library.handlers = [Forwarding(logging.WARNING)]
        library.propagate = False
