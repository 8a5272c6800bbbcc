"""Taking the columns of bars out of a file, as they are written, a block at a time."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ntrader.engine.bar_layouts import Layout, find_layout
from ntrader.engine.bar_roles import find_roles, parse_columns
from ntrader.engine.bar_text import HEAD_BYTES, Text
from ntrader.errors import InvalidDataError, NotFoundError, UsageError

BLOCK_BYTES = 1 << 22
"""So much of a text is read at a time."""

# A row of a Parquet file counts as so many bytes.
_ROW_BYTES = 64
_SHOWN = 5
_PARQUET = b"PAR1"
_TIME_OF_DAY = r"^\s*(\d{1,2}:\d{2}|\d{4}(\d{2})?\s*$)"

type Block = Mapping[str, pa.Array]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of bars in one file, as they are written, by role: `time`, `open`, ... `volume`.

    `volume` may be missing, `tick volume` is there only beside another. `blocks` are to be gone
    through once. `place` says where in the file a row (counted from 0) is that was in a block
    already; `above` counts the lines above the first bar of a text file.
    """

    name: str
    blocks: Iterator[Block]
    place: Callable[[int], str]
    above: int | None = None
    warnings: tuple[str, ...] = ()


def read_table(path: Path, columns: str | None = None, *, block_bytes: int = BLOCK_BYTES) -> Table:
    """Open a CSV file (plain or gzip) or a Parquet file, and find the columns of bars.

    `columns` names the columns of a CSV file in order, separated by commas; `-` passes one over.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: it is neither, or columns are missing; also from `Table.blocks`.
        UsageError: `columns` do not fit.
    """
    given = None if columns is None else parse_columns(columns)
    if path.is_dir():
        raise InvalidDataError(f"{path} is a directory.", hint="Name one CSV or Parquet file.")
    try:
        file = path.open("rb")
        start = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except OSError as error:
        raise InvalidDataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if not start.startswith(_PARQUET):
            return _read_csv(path.name, file, start, given, block_bytes)
        if given is not None:
            raise UsageError(
                "--columns is for CSV files.", hint="Name the columns in the Parquet file itself."
            )
        rows = max(1, block_bytes // _ROW_BYTES)
        if not file.seekable():
            return _read_parquet(path.name, pa.BufferReader(start + file.read()), rows)
        file.close()
        return _read_parquet(path.name, path, rows)
    except BaseException:
        file.close()
        raise


def _read_csv(
    name: str, file: IO[bytes], start: bytes, given: tuple[str, ...] | None, block_bytes: int
) -> Table:
    text = Text(name, file, start)
    layout = find_layout(name, text.head, given)
    above = len(text.head[: layout.start].splitlines())
    return Table(
        name=name,
        blocks=_closing(file, _text_blocks(name, text, layout, block_bytes)),
        place=lambda row: f"line {text.lines.number(layout.lines + row)}",
        above=above,
        warnings=layout.warnings,
    )


def _closing(file: IO[bytes], blocks: Iterator[Block]) -> Iterator[Block]:
    with file:
        yield from blocks


def _text_blocks(name: str, text: Text, layout: Layout, block_bytes: int) -> Iterator[Block]:
    roles = find_roles(name, layout.names, layout.first)
    # Columns go by number: names may be empty or occur twice.
    numbered = [str(number) for number in range(len(layout.names))]
    wanted = [numbered[number] for number in roles.values()]
    joining = _Joining()
    blocks = text.blocks(layout.start, block_bytes)
    found = False
    for block in blocks:
        first_line = text.lines.lines + 1
        text.lines.count(block)
        if not block.strip():
            continue
        found = True
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(block),
                read_options=pa.csv.ReadOptions(column_names=numbered, use_threads=False),
                parse_options=pa.csv.ParseOptions(delimiter=layout.delimiter),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
                ),
            )
        except pa.ArrowInvalid as error:
            raise _ragged(name, block, blocks, first_line, layout) from error
        columns = {role: table[numbered[number]] for role, number in roles.items()}
        yield joining.joined({role: _whole(column) for role, column in columns.items()})
    if not found:
        raise _no_bars(name)


def _no_bars(name: str) -> InvalidDataError:
    return InvalidDataError(f"{name} has a header and no bars.")


def _ragged(
    name: str, block: bytes, others: Iterator[bytes], number: int, layout: Layout
) -> InvalidDataError:
    """Return the error for lines that have not as many columns as the first.

    `number` is that of the first line of `block`, the first block that has such a line.
    """
    columns = len(layout.names)
    faults: list[str] = []
    for each in _chained(block, others):
        for line in each.splitlines():
            found = len(next(csv.reader([line.decode()], delimiter=layout.delimiter), ()))
            if found not in (0, columns):
                faults.append(f"line {number} has {found}")
            number += 1
        if len(faults) > _SHOWN:
            break
    told = "; ".join(faults[:_SHOWN]) + ("; and more" if len(faults) > _SHOWN else "")
    first = "header" if layout.lines else "first line"
    return InvalidDataError(
        f"{name}: the {first} has {columns} columns, but {told or 'other lines have not'}.",
        hint=f"Every line needs as many columns as the {first}. Nothing was stored.",
    )


def _chained(block: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield block
    yield from others


def _read_parquet(name: str, source: Path | pa.BufferReader, rows: int) -> Table:
    try:
        parquet = pq.ParquetFile(source, buffer_size=1 << 16)
        names = parquet.schema_arrow.names
        roles = find_roles(name, names)
        for role, number in roles.items():
            kind = parquet.schema_arrow.field(number).type
            if not _is_readable(kind.value_type if pa.types.is_dictionary(kind) else kind):
                raise InvalidDataError(f"{name}: the column for {role} holds {kind} values.")
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name) from error
    if parquet.metadata.num_rows == 0:
        raise _no_bars(name)
    columns = {role: names[number] for role, number in roles.items()}
    return Table(name, _parquet_blocks(name, parquet, columns, rows), lambda row: f"row {row + 1}")


def _parquet_blocks(
    name: str, parquet: pq.ParquetFile, columns: Mapping[str, str], rows: int
) -> Iterator[Block]:
    joining = _Joining()
    wanted = list(columns.values())
    try:
        with parquet:
            for batch in parquet.iter_batches(rows, columns=wanted, use_threads=False):
                arrays = {role: _plain(batch.column(column)) for role, column in columns.items()}
                yield joining.joined(arrays)
    except MemoryError:
        # One of Arrow's own errors too, and no damage.
        raise
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name) from error


def _damaged(name: str) -> InvalidDataError:
    return InvalidDataError(f"{name} is a damaged Parquet file.")


def _is_readable(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
        or types.is_null(kind)
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


class _Joining:
    """Puts dates and times of day together where a file has them apart.

    What the first block shows holds for all.
    """

    def __init__(self) -> None:
        self._is_time_of_day: bool | None = None

    def joined(self, arrays: dict[str, pa.Array]) -> Block:
        """Return the columns with `time` made of `day` and `time`, or of `day` alone."""
        day = arrays.pop("day", None)
        if day is None:
            return arrays
        texts = [pc.utf8_trim_whitespace(each.cast(pa.string())) for each in (day, arrays["time"])]
        if self._is_time_of_day is None:
            self._is_time_of_day = pc.all(pc.match_substring_regex(texts[1], _TIME_OF_DAY)).as_py()
        time = pc.binary_join_element_wise(*texts, " ") if self._is_time_of_day else day
        return {**arrays, "time": time}
