"""What PostgreSQL says of how it answers a statement."""

from typing import Any

from sqlalchemy import Executable
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement, with the options in parentheses."""

    inherit_cache = False

    def __init__(self, statement: Any, options: str) -> None:
        self.statement = statement
        self.asked = options


@compiles(Explain)
def _explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN ({element.asked}) " + compiler.process(element.statement, **options)
