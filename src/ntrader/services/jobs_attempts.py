"""Attempts: a worker's tries to carry out a run, and who watches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class AttemptOutcome(StrEnum):
    """How an attempt ended: with the run, or before it, to be followed by another attempt.

    A run is given back when its worker stops or cannot save it, and lost when its process ends.
    """

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GIVEN_BACK = "given_back"
    LOST = "lost"


@dataclass(slots=True)
class Attempt:
    """An attempt that goes on; whatever ends it without a word has lost it."""

    outcome: AttemptOutcome = AttemptOutcome.LOST


class AttemptWatcher(Protocol):
    """Sees what a worker does."""

    def attempt(self, strategy: str) -> AbstractContextManager[Attempt]:
        """See an attempt at a run of a registered strategy, for as long as it lasts."""


class NoWatcher:
    """Sees nothing."""

    @contextmanager
    def attempt(self, strategy: str) -> Iterator[Attempt]:
        """Look away."""
        del strategy
        yield Attempt()
