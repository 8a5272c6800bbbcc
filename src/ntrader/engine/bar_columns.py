"""Finding the columns of bars in a file: which is which, under the names that people use."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ntrader.errors import InvalidDataError, NotFoundError

PRICES = ("open", "high", "low", "close")

# Names in lower case without spaces, underscores and brackets; the first that a file has is taken.
_NAMES = {
    "time": (
        *("timestamp", "datetime", "opentime", "ts", "date", "time", "gmttime", "utctime"),
        *("dateutc", "timeutc", "localtime", "epoch", "unix", "unixtime", "unixtimestamp"),
        *("tsevent", "starttime", "t", "index", "indexlevel0", "unnamed:0", ""),
    ),
    "open": ("open", "o", "openprice", "priceopen"),
    "high": ("high", "h", "highprice", "pricehigh"),
    "low": ("low", "l", "lowprice", "pricelow"),
    "close": ("close", "c", "closeprice", "priceclose", "last"),
    "volume": ("volume", "vol", "v", "basevolume", "tickvolume", "tickvol"),
}
_DELIMITERS = ",;\t|"
_EXPECTED = (
    "It needs a header line that names date (or time, timestamp, ...), open, high, low, close and "
    "volume."
)
_LONGEST_HEADER = 10_000
_TIME_OF_DAY = r"^\s*(\d{1,2}:\d{2}|\d{4}(\d{2})?\s*$)"


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of bars in one file, as they are written, by role: `time`, `open`, ... `volume`.

    `volume` may be missing. `place` says where in the file a row (counted from 0) is.
    """

    name: str
    columns: dict[str, pa.Array]
    place: Callable[[int], str]
    warnings: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read the columns of bars from a CSV file (plain or gzip) or a Parquet file.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: it is neither, or columns are missing.
    """
    if path.is_dir():
        raise InvalidDataError(f"{path} is a directory.", hint="Name one CSV or Parquet file.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except OSError as error:
        raise InvalidDataError(f"{path} cannot be read: {error.strerror}.") from error
    if data[:4] == b"PAR1":
        return _read_parquet(path.name, data)
    return _read_csv(path.name, _plain_text(path.name, data))


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
        raise InvalidDataError(f"{name} is empty.", hint=_EXPECTED)
    return text.encode()


def _not_text(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name} is neither text in UTF-8 nor Parquet.", hint="Save it as CSV or Parquet."
    )


def _read_csv(name: str, data: bytes) -> Table:
    data_from_header = data.lstrip(b"\r\n")
    header = data_from_header[: _LONGEST_HEADER + 1].splitlines()[0].decode(errors="replace")
    if len(header) > _LONGEST_HEADER:
        raise InvalidDataError(f"{name} has no header line.", hint=_EXPECTED)
    delimiter = max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter))
    roles = _find_roles(name, names)
    # Columns go by number: names may be empty or occur twice.
    numbered = [str(number) for number in range(len(names))]
    wanted = [numbered[number] for number in roles.values()]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data_from_header),
            read_options=pa.csv.ReadOptions(column_names=numbered, skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(name, data, delimiter, len(names)) from error
    columns = {role: table[numbered[number]] for role, number in roles.items()}
    return _table(name, columns, lambda row: f"line {_line_numbers(data)[row + 1]}")


def _line_numbers(data: bytes) -> list[int]:
    """Return the numbers of the lines that are not blank, the header's first."""
    return [number for number, line in enumerate(data.splitlines(), 1) if line]


def _ragged(name: str, data: bytes, delimiter: str, columns: int) -> InvalidDataError:
    """Return the error for lines that have not as many columns as the header."""
    faults = []
    for number, line in enumerate(data.splitlines(), 1):
        found = len(next(csv.reader([line.decode()], delimiter=delimiter), ()))
        if found not in (0, columns):
            faults.append(f"line {number} has {found}")
    told = "; ".join(faults[:5]) + ("; and more" if len(faults) > 5 else "")
    return InvalidDataError(
        f"{name}: the header has {columns} columns, but {told or 'other lines have not'}.",
        hint="Every line needs as many columns as the header. Nothing was stored.",
    )


def _read_parquet(name: str, data: bytes) -> Table:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            names = file.schema_arrow.names
            roles = _find_roles(name, names)
            table = file.read(columns=[names[number] for number in roles.values()])
    except (pa.ArrowException, OSError) as error:
        raise InvalidDataError(f"{name} is a damaged Parquet file.") from error
    columns = {role: table[names[number]] for role, number in roles.items()}
    return _table(name, columns, lambda row: f"row {row + 1}")


def _table(name: str, columns: dict[str, Any], place: Callable[[int], str]) -> Table:
    arrays = {role: _whole(column) for role, column in columns.items()}
    if len(arrays["time"]) == 0:
        raise InvalidDataError(f"{name} has a header and no bars.")
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


def _find_roles(name: str, names: Iterable[str]) -> dict[str, int]:
    """Return the number of the column for each role; `day` where date and time are apart."""
    plain = [_plain(column) for column in names]
    roles = {}
    for role, synonyms in _NAMES.items():
        found = next((synonym for synonym in synonyms if synonym in plain), None)
        if found is None:
            continue
        if plain.count(found) > 1:
            raise InvalidDataError(f"{name} has several columns named {found!r}.")
        roles[role] = plain.index(found)
    if "volume" not in roles:
        roles |= _volume_of_something(name, plain)
    if "date" in plain and "time" in plain and plain[roles["time"]] == "date":
        roles |= {"day": plain.index("date"), "time": plain.index("time")}
    missing = [role for role in ("time", *PRICES) if role not in roles]
    if missing:
        shown = ", ".join(repr(column) for column in names)
        raise InvalidDataError(
            f"{name} has no column for {', '.join(missing)}; its first line is {shown[:200]}.",
            hint=_EXPECTED,
        )
    return roles


def _volume_of_something(name: str, plain: list[str]) -> dict[str, int]:
    """Return the column that is named like `Volume BTC`, if there is one."""
    found = [number for number, column in enumerate(plain) if column.startswith("volume")]
    if len(found) > 1:
        raise InvalidDataError(
            f"{name} has several columns of volume.", hint="Name the one that is meant `volume`."
        )
    return {"volume": found[0]} if found else {}


def _plain(column: str) -> str:
    return "".join(c for c in column.strip().strip("<>").lower() if c not in " _")
