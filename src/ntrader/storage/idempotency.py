"""The repository of idempotency keys: requests that must not be carried out twice."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from ntrader.storage.database import Database
from ntrader.storage.jobs_tables import idempotency_table as keys
from ntrader.storage.transactions import Transaction

KEPT = "24 hours"
_ABANDONED = "5 minutes"


@dataclass(frozen=True, slots=True)
class Claim:
    """A request as it is known by its key.

    `subject` is the id of what the request makes, the same however often it is tried. `answer` is
    what was answered; None where it is to be carried out now, unless `is_taken`: somebody else is
    at it.
    """

    subject: UUID
    request_hash: str
    answer: dict[str, Any] | None
    is_taken: bool


class IdempotencyRepository:
    """Keys are kept for a day, each within the scope of who gave it and for what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, scope: str, key: str, request_hash: str) -> Claim:
        """Return what is known of the request; a new one is the caller's to carry out.

        So is one that somebody began minutes ago and has not answered: its process has ended.
        """

        async def work(transaction: Transaction) -> Claim:
            await transaction.execute(
                delete(keys).where(keys.c.created_at < func.now() - text(f"interval '{KEPT}'"))
            )
            mine = (keys.c.scope == scope, keys.c.key == key)
            statement = insert(keys).values(scope=scope, key=key, request_hash=request_hash)
            added = await transaction.execute(statement.on_conflict_do_nothing())
            is_new = added.rowcount > 0
            if not is_new:
                taken_over = await transaction.execute(
                    update(keys)
                    .where(*mine, keys.c.answer.is_(None), keys.c.request_hash == request_hash)
                    .where(keys.c.claimed_at < func.now() - text(f"interval '{_ABANDONED}'"))
                    .values(claimed_at=func.now())
                )
                is_new = taken_over.rowcount > 0
            row = (await transaction.execute(select(keys).where(*mine))).one()
            return Claim(row.subject, row.request_hash, row.answer, not is_new)

        return await self._database.run(work)

    async def answer(self, scope: str, key: str, answer: dict[str, Any]) -> None:
        """Keep what was answered."""
        await self._database.run(
            lambda transaction: transaction.execute(
                update(keys).where(keys.c.scope == scope, keys.c.key == key).values(answer=answer)
            )
        )

    async def release(self, scope: str, key: str) -> None:
        """Let a request be tried again that failed for no fault of its own."""
        await self._database.run(
            lambda transaction: transaction.execute(
                delete(keys).where(
                    keys.c.scope == scope, keys.c.key == key, keys.c.answer.is_(None)
                )
            )
        )
