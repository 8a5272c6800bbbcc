"""Statements as the driver takes them: SQLAlchemy writes them, and stays out of their way.

On its own way from a statement to rows SQLAlchemy takes three times as long as the driver needs for
a page of runs: it looks at each value of each row, and goes through an adapter for each step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, CompoundSelect, Dialect, Select
from sqlalchemy.sql.compiler import SQLCompiler

_MOST_KEPT = 500


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value comes from: of the values within a statement, which, and made into what."""

    index: int
    processed: Callable[[Any], Any] | None

    def value(self, binds: Sequence[BindParameter[Any]], given: Mapping[str, Any]) -> Any:
        """Return the value of a statement for this place."""
        bind = binds[self.index]
        value = given[bind.key] if bind.required else bind.effective_value
        return value if self.processed is None else self.processed(value)


@dataclass(frozen=True, slots=True)
class _Written:
    """What all statements of one shape share."""

    text: str
    places: tuple[_Place, ...]


class Statements:
    """Writes statements for the driver; those that differ in their values alone are written once.

    Args:
        dialect: how the driver wants them.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._written: dict[object, _Written] = {}

    def prepared(
        self, statement: Select[Any] | CompoundSelect[Any], **given: Any
    ) -> tuple[str, list[Any]]:
        """Return the text of a statement, and the values for its places `$1`, `$2` and on.

        `given` are the values of its named parameters. A statement that is kept, and differs in
        them alone, is looked at once. `IN` with a list is not possible, because its text depends on
        the list's length: write `= ANY` with an array.

        Raises:
            ValueError: the statement has what makes its text depend on its values.
        """
        # What SQLAlchemy's own cache goes by, and all of its recipes for caching.
        key = statement._generate_cache_key()
        if key is None:
            raise ValueError("a statement that cannot be kept")
        written = self._written.get(key.key)
        if written is None:
            if len(self._written) >= _MOST_KEPT:
                self._written.clear()
            numbers = {bind.key: number for number, bind in enumerate(key.bindparams)}
            written = self._written[key.key] = self._write(statement, numbers)
        return written.text, [place.value(key.bindparams, given) for place in written.places]

    def _write(
        self, statement: Select[Any] | CompoundSelect[Any], numbers: dict[str, int]
    ) -> _Written:
        compiled = statement.compile(dialect=self._dialect)
        if not isinstance(compiled, SQLCompiler) or compiled.post_compile_params:
            raise ValueError("a statement whose text depends on its values")
        binds = [compiled.binds[name] for name in compiled.positiontup or ()]
        return _Written(
            compiled.string,
            tuple(
                _Place(
                    numbers[bind.key],
                    bind.type.dialect_impl(self._dialect).bind_processor(self._dialect),
                )
                for bind in binds
            ),
        )
