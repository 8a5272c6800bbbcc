"""Taking the columns of bars out of a file, as they are written."""

import csv
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ntrader.engine.bar_layouts import Layout, find_layout
from ntrader.engine.bar_roles import EXPECTED, find_roles, parse_columns
from ntrader.errors import InvalidDataError, NotFoundError, UsageError

_TIME_OF_DAY = r"^\s*(\d{1,2}:\d{2}|\d{4}(\d{2})?\s*$)"


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of bars in one file, as they are written, by role: `time`, `open`, ... `volume`.

    `volume` may be missing, `tick volume` is there only beside another. `place` says where in the
    file a row (counted from 0) is; `above` counts the lines above the first bar of a text file.
    """

    name: str
    columns: dict[str, pa.Array]
    place: Callable[[int], str]
    above: int | None = None
    warnings: tuple[str, ...] = ()


def read_table(path: Path, columns: str | None = None) -> Table:
    """Read the columns of bars from a CSV file (plain or gzip) or a Parquet file.

    `columns` names the columns of a CSV file in order, separated by commas; `-` passes one over.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: it is neither, or columns are missing.
        UsageError: `columns` do not fit.
    """
    given = None if columns is None else parse_columns(columns)
    if path.is_dir():
        raise InvalidDataError(f"{path} is a directory.", hint="Name one CSV or Parquet file.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except OSError as error:
        raise InvalidDataError(f"{path} cannot be read: {error.strerror}.") from error
    if data[:4] == b"PAR1":
        if given is not None:
            raise UsageError(
                "--columns is for CSV files.", hint="Name the columns in the Parquet file itself."
            )
        return _read_parquet(path.name, data)
    return _read_csv(path.name, _plain_text(path.name, data), given)


def _plain_text(name: str, data: bytes) -> bytes:
    """Return the file's text in UTF-8 without a byte order mark."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidDataError(f"{name} is a damaged gzip file.") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_text(name) from error
    if "\0" in text:
        raise _not_text(name)
    if not text.strip():
        raise InvalidDataError(f"{name} is empty.", hint=EXPECTED)
    return text.encode()


def _not_text(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name} is neither text in UTF-8 nor Parquet.", hint="Save it as CSV or Parquet."
    )


def _read_csv(name: str, data: bytes, given: tuple[str, ...] | None) -> Table:
    layout = find_layout(name, data, given)
    roles = find_roles(name, layout.names, layout.first)
    bars = data[layout.start :]
    if not bars.strip():
        raise _no_bars(name)
    # Columns go by number: names may be empty or occur twice.
    numbered = [str(number) for number in range(len(layout.names))]
    wanted = [numbered[number] for number in roles.values()]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(bars),
            read_options=pa.csv.ReadOptions(column_names=numbered),
            parse_options=pa.csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=pa.csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(name, data, layout) from error
    columns = {role: table[numbered[number]] for role, number in roles.items()}
    return replace(
        _table(name, columns, lambda row: f"line {_line_numbers(data)[layout.lines + row]}"),
        above=_lines_above(data, layout),
        warnings=layout.warnings,
    )


def _line_numbers(data: bytes) -> list[int]:
    """Return the numbers of the lines that are not blank."""
    return [number for number, line in enumerate(data.splitlines(), 1) if line]


def _lines_above(data: bytes, layout: Layout) -> int:
    return len(data[: layout.start].splitlines())


def _no_bars(name: str) -> InvalidDataError:
    return InvalidDataError(f"{name} has a header and no bars.")


def _ragged(name: str, data: bytes, layout: Layout) -> InvalidDataError:
    """Return the error for lines that have not as many columns as the first."""
    columns = len(layout.names)
    faults = []
    above = _lines_above(data, layout)
    for number, line in enumerate(data.splitlines()[above:], above + 1):
        found = len(next(csv.reader([line.decode()], delimiter=layout.delimiter), ()))
        if found not in (0, columns):
            faults.append(f"line {number} has {found}")
    told = "; ".join(faults[:5]) + ("; and more" if len(faults) > 5 else "")
    first = "header" if layout.lines else "first line"
    return InvalidDataError(
        f"{name}: the {first} has {columns} columns, but {told or 'other lines have not'}.",
        hint=f"Every line needs as many columns as the {first}. Nothing was stored.",
    )


def _read_parquet(name: str, data: bytes) -> Table:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            names = file.schema_arrow.names
            roles = find_roles(name, names)
            table = file.read(columns=[names[number] for number in roles.values()])
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataError(f"{name} is a damaged Parquet file.") from error
    columns = {role: table[names[number]] for role, number in roles.items()}
    return _table(name, columns, lambda row: f"row {row + 1}")


def _table(name: str, columns: dict[str, Any], place: Callable[[int], str]) -> Table:
    arrays = {role: _whole(column) for role, column in columns.items()}
    if len(arrays["time"]) == 0:
        raise _no_bars(name)
    for role, array in arrays.items():
        if not _is_readable(array.type):
            raise InvalidDataError(f"{name}: the column for {role} holds {array.type} values.")
    day = arrays.pop("day", None)
    if day is not None:
        arrays["time"] = _joined(day, arrays["time"])
    return Table(name, arrays, place)


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


def _whole(column: Any) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _joined(day: pa.Array, time: pa.Array) -> pa.Array:
    """Return days with their times of day; `time` alone where it is no time of day."""
    texts = [pc.utf8_trim_whitespace(column.cast(pa.string())) for column in (day, time)]
    if not pc.all(pc.match_substring_regex(texts[1], _TIME_OF_DAY)).as_py():
        return day
    return pc.binary_join_element_wise(*texts, " ")
