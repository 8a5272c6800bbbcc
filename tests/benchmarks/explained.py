"""What a list takes, statement by statement, as the product asks for it."""

import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select

from ntrader.storage.database import Database
from ntrader.storage.plans import Expected
from support.explaining import Explain

OPTIONS = "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON"


class Explained:
    """Answers the statements for a page by what they took, for `ntrader.storage.pages.Pages`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[Select[Any]] = []
        self.buffers = 0
        self.planning = self.execution = 0.0

    async def expected(self, statement: CompoundSelect[Any]) -> Sequence[Expected]:
        """Return what the planner expects; it is part of the planning."""
        started = time.perf_counter()
        expected = await self._database.expected(statement)
        self.planning += (time.perf_counter() - started) * 1e3
        return expected

    async def read(self, statement: Select[Any]) -> Sequence[Any]:
        """Return as many rows as the statement gives."""
        self.statements.append(statement)
        found = (await self._database.fetch(Explain(statement, OPTIONS)))[0][0]
        (plan,) = json.loads(found) if isinstance(found, str) else found
        self.buffers += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        self.planning += plan["Planning Time"]
        self.execution += plan["Execution Time"]
        return range(int(plan["Plan"]["Actual Rows"]))
