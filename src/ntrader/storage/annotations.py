"""The repository of what users say of runs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from ntrader.domain.annotations import Annotations
from ntrader.errors import ConflictError, NotFoundError
from ntrader.storage.database import Database
from ntrader.storage.tables import notes_table, tags_table
from ntrader.storage.transactions import Transaction


class AnnotationRepository:
    """Tags and notes of runs. They may change at any time; the run that they are of never does.

    Texts are checked by `ntrader.domain.annotations` before they come here.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run_id: UUID, said: Annotations) -> None:
        """Put tags on a run, and write its note if there is one; one transaction.

        Raises:
            NotFoundError: the run is not there.
        """
        if not said:
            return
        try:
            await self._database.run(lambda transaction: annotate_run(transaction, run_id, said))
        except ConflictError as error:
            # Somebody deleted it a moment ago: there is nothing to refer to.
            raise NotFoundError(
                f"There is no run {run_id}.", hint="`ntrader history` lists the runs."
            ) from error

    async def add_tags(self, run_id: UUID, tags: Sequence[str]) -> None:
        """Put tags on a run; those that it has stay.

        Raises:
            NotFoundError: the run is not there.
        """
        await self.add(run_id, Annotations(tags=tuple(tags)))

    async def remove_tags(self, run_id: UUID, tags: Sequence[str]) -> None:
        """Take tags off a run; those that it does not have are no fault."""
        statement = delete(tags_table).where(
            tags_table.c.run_id == run_id, tags_table.c.tag.in_(tags)
        )
        await self._database.run(lambda transaction: transaction.execute(statement))

    async def set_note(self, run_id: UUID, note: str) -> None:
        """Write the run's note in place of the one that it has.

        Raises:
            NotFoundError: the run is not there.
        """
        await self.add(run_id, Annotations(note=note))

    async def clear_note(self, run_id: UUID) -> None:
        """Remove the run's note, if it has one."""
        statement = delete(notes_table).where(notes_table.c.run_id == run_id)
        await self._database.run(lambda transaction: transaction.execute(statement))


async def annotate_run(transaction: Transaction, run_id: UUID, said: Annotations) -> None:
    """Put tags and a note on a run within a transaction; the note replaces another."""
    if said.tags:
        await transaction.execute(
            insert(tags_table).on_conflict_do_nothing(),
            [{"run_id": run_id, "tag": tag} for tag in said.tags],
        )
    if said.note is not None:
        await _write_note(transaction, run_id, said.note)


async def _write_note(transaction: Transaction, run_id: UUID, note: str) -> None:
    statement = insert(notes_table).values(run_id=run_id, note=note)
    await transaction.execute(
        statement.on_conflict_do_update(
            index_elements=["run_id"],
            set_={"note": statement.excluded.note, "updated_at": func.now()},
        )
    )
