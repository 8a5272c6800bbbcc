"""Which column is which: the names that people give to the columns of bars."""

from collections.abc import Sequence

from ntrader.errors import InvalidDataError, UsageError

PRICES = ("open", "high", "low", "close")
TICK_VOLUME = "tick volume"

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
    "close": ("close", "c", "closeprice", "priceclose", "last", "close/last"),
    "volume": ("volume", "vol", "v", "basevolume"),
    TICK_VOLUME: ("tickvolume", "tickvol"),
}
_GIVEN = ("date", "time", *PRICES, "volume")
_SKIPPED = "-"

NAME_COLUMNS = "--columns time,open,high,low,close,volume (- passes a column over)"
EXPECTED = (
    "It needs a header line that names date (or time, timestamp, ...), open, high, low, close and "
    "volume."
)


def parse_columns(text: str) -> tuple[str, ...]:
    """Read the names of a file's columns in order, separated by commas; `-` passes one over.

    Raises:
        UsageError: a name is unknown or occurs twice, or a column that bars need is not named.
    """
    names = tuple(name.strip().lower() for name in text.split(","))
    hint = f"Name the file's columns in order: {NAME_COLUMNS}."
    for name in names:
        if name != _SKIPPED and name not in _GIVEN:
            raise UsageError(f"{name!r} is no column of bars.", hint=hint)
        if name != _SKIPPED and names.count(name) > 1:
            raise UsageError(f"--columns names {name!r} twice.", hint=hint)
    missing = missing_roles(names)
    if missing:
        raise UsageError(f"--columns names no column for {', '.join(missing)}.", hint=hint)
    return names


def missing_roles(names: Sequence[str]) -> list[str]:
    """Return what bars need and none of the columns is named like."""
    plain = {plain_name(name) for name in names}
    return [role for role in ("time", *PRICES) if plain.isdisjoint(_NAMES[role])]


def find_roles(file: str, names: Sequence[str], first: Sequence[str] = ()) -> dict[str, int]:
    """Return the number of the column for each role; `day` where date and time are apart.

    `first` holds the cells of the first bar, as far as they are known.

    Raises:
        InvalidDataError: columns are missing, or it cannot be told which is meant.
    """
    plain = [plain_name(column) for column in names]
    roles = {}
    for role, synonyms in _NAMES.items():
        found = next((synonym for synonym in synonyms if synonym in plain), None)
        if found is None:
            continue
        if plain.count(found) > 1:
            raise InvalidDataError(f"{file} has several columns named {found!r}.")
        roles[role] = plain.index(found)
    if "volume" not in roles:
        roles |= _volume(file, plain, first, roles.pop(TICK_VOLUME, None))
    if "date" in plain and "time" in plain and plain[roles["time"]] == "date":
        roles |= {"day": plain.index("date"), "time": plain.index("time")}
    missing = missing_roles(names)
    if missing:
        shown = ", ".join(repr(column) for column in names)
        raise InvalidDataError(
            f"{file} has no column for {', '.join(missing)}; its first line is {shown[:200]}.",
            hint=f"If it has no header line, name its columns in order: {NAME_COLUMNS}."
            if any(char.isdigit() for char in shown)
            else EXPECTED,
        )
    return roles


def _volume(
    file: str, plain: list[str], first: Sequence[str], tick_volume: int | None
) -> dict[str, int]:
    """Return the column of volume where none is named just so, if there is one.

    It is that of ticks, or one named like `Volume BTC`. Of `Volume BTC` and `Volume USDT` it is the
    one whose unit the symbol of the first bar, such as BTC/USDT, begins with.
    """
    if tick_volume is not None:
        return {"volume": tick_volume}
    found = [number for number, column in enumerate(plain) if column.startswith("volume")]
    if len(found) > 1 and "symbol" in plain and len(first) == len(plain):
        symbol = first[plain.index("symbol")].strip().lower()
        units = {number: plain[number].removeprefix("volume") for number in found}
        of_base = [number for number in found if symbol.startswith(units[number])]
        found = of_base if len(of_base) == 1 else found
    if len(found) > 1:
        raise InvalidDataError(
            f"{file} has several columns of volume.",
            hint=f"Name the one that is meant `volume`, or name all columns: {NAME_COLUMNS}.",
        )
    return {"volume": found[0]} if found else {}


def plain_name(column: str) -> str:
    """Return a column's name as it is compared."""
    return "".join(c for c in column.strip().strip("<>").lower() if c not in " _")
