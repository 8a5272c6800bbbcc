"""Tables as Parquet, without pandas.

`pyarrow.array` looks for pandas, whose import costs more than writing a table: columns are laid out
here and handed over as buffers.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

type Column = "Sequence[str] | Sequence[int] | Sequence[float] | Sequence[datetime] | Sequence[Decimal] | np.ndarray[Any, Any]"  # noqa: E501

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = 38
_MOST_FOREIGN_ROWS = 100_000_000
_MOST_FOREIGN_BYTES = 4 << 30


def write(columns: Mapping[str, Column]) -> bytes:
    """Return a table as Parquet: the same table gives the same bytes.

    A column is an array of int64, float64 or datetime64[ns] (UTC), or a sequence of one of str,
    int, float, Decimal and aware datetime, with no missing values; an empty sequence becomes a
    column of text.

    Raises:
        ValueError: the columns are not of one length, or hold what cannot be stored.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_arrays([_array(each) for each in columns.values()], names=list(columns))
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read(content: bytes) -> "dict[str, list[Any] | np.ndarray[Any, Any]]":
    """Return the columns of a table: numbers and nanoseconds as arrays, all else as lists."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.ParquetFile(pa.BufferReader(content)).read()
    return {name: _values(table.column(name)) for name in table.column_names}


def read_foreign(content: bytes) -> "dict[str, list[Any] | np.ndarray[Any, Any]]":
    """Return the columns of a table that came from elsewhere; see `read`.

    Raises:
        ValueError: it is no Parquet file, is damaged, or unpacks to more than it may.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(pa.BufferReader(content)).metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        unpacked = sum(group.total_byte_size for group in groups)
        if metadata.num_rows > _MOST_FOREIGN_ROWS or unpacked > _MOST_FOREIGN_BYTES:
            raise ValueError(f"{metadata.num_rows:,} rows, {unpacked:,} bytes unpacked")
        return read(content)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _values(column: "pa.ChunkedArray") -> "list[Any] | np.ndarray[Any, Any]":
    import numpy as np
    import pyarrow as pa

    kinds: tuple[tuple[Any, Any], ...] = (
        (pa.int64(), np.int64),
        (pa.float64(), np.float64),
        (pa.timestamp("ns", tz="UTC"), "datetime64[ns]"),
    )
    for kind, dtype in kinds:
        if column.type == kind and column.null_count == 0:
            return _numbers_of(column, dtype)
    if column.type == pa.timestamp("us", tz="UTC"):
        # pyarrow's own conversion looks for pandas.
        microseconds = _numbers_of(column, np.int64).tolist()
        return [_EPOCH + value * _MICROSECOND for value in microseconds]
    values: list[Any] = column.to_pylist()
    return values


def _numbers_of(column: "pa.ChunkedArray", dtype: Any) -> "np.ndarray[Any, Any]":
    import numpy as np

    parts = [
        np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _array(column: Column) -> "pa.Array":
    import numpy as np

    if isinstance(column, np.ndarray):
        return _numbers(column)
    if not column:
        return _texts(())
    for kind, convert in _CONVERSIONS.items():
        if all(isinstance(value, kind) for value in column):
            return convert(column)
    kinds = ", ".join(sorted({type(value).__name__ for value in column}))
    raise ValueError(f"a column of {kinds} cannot be stored")


def _numbers(column: Any) -> "pa.Array":
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(column)
    kinds = {
        np.dtype(np.int64): pa.int64(),
        np.dtype(np.float64): pa.float64(),
        np.dtype("datetime64[ns]"): pa.timestamp("ns", tz="UTC"),
    }
    if values.dtype not in kinds or values.ndim != 1:
        raise ValueError(
            f"an array of {values.dtype} with {values.ndim} dimensions cannot be stored"
        )
    return _from_buffer(kinds[values.dtype], len(values), values)


def _integers(column: Sequence[int]) -> "pa.Array":
    import numpy as np

    return _numbers(np.array(column, np.int64))


def _floats(column: Sequence[float]) -> "pa.Array":
    import numpy as np

    return _numbers(np.array(column, np.float64))


def _instants(column: Sequence[datetime]) -> "pa.Array":
    import numpy as np
    import pyarrow as pa

    values = np.array([(value - _EPOCH) // _MICROSECOND for value in column], np.int64)
    return _from_buffer(pa.timestamp("us", tz="UTC"), len(values), values)


def _decimals(column: Sequence[Decimal]) -> "pa.Array":
    import pyarrow as pa

    scale = max(0, *(-int(value.as_tuple().exponent) for value in column), 0)
    units = [int(value.scaleb(scale)) for value in column]
    content = b"".join(unit.to_bytes(16, "little", signed=True) for unit in units)
    return _from_buffer(pa.decimal128(_DIGITS, scale), len(column), content)


def _texts(column: Sequence[str]) -> "pa.Array":
    import numpy as np
    import pyarrow as pa

    encoded = [value.encode() for value in column]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(each) for each in encoded], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _from_buffer(kind: "pa.DataType", length: int, content: Any) -> "pa.Array":
    import pyarrow as pa

    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(content)])


_CONVERSIONS: dict[type[Any], Callable[[Any], Any]] = {
    str: _texts,
    int: _integers,
    float: _floats,
    datetime: _instants,
    Decimal: _decimals,
}
