"""Files that are not what they should be: CSV, Parquet, YAML, zip, settings."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.commands import Command
from support.hostile import HOSTILE, assert_told

CELLS = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "nan",
        "inf",
        "-inf",
        "-0.0",
        "1e308",
        "5e-324",
        "1e400",
        "0",
        "-1",
        "1,5",
        "1.000,5",
        "9" * 400,
        "1_0",
        "0x10",
        "١",
        "$1",
        "1 000",
        "--",
        "null",
        "N/A",
        "=1+1",
        HOSTILE[:40],
        "0001-01-01",
        "9999-12-31",
        "2016-12-31 23:59:60",
        "2020-02-30",
        "1e18",
        "-62135596800",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
        "253402300800",
        "99999999999999999999",
    ]
)
ROW = st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS, CELLS)
CLEAN = "2020-01-0{day},10,12,9,11,100"

IMPORT = ("--symbol=ACME", "--venue=NYSE", "--kind=equity", "--timeframe=1d")


def csv_of(rows: list[tuple[str, ...]]) -> bytes:
    lines = ["date,open,high,low,close,volume", *map(",".join, rows)]
    return "\n".join(lines).encode(errors="replace")


@given(content=st.binary(max_size=400) | st.lists(ROW, max_size=5).map(csv_of))
@example(content=b"")
@example(content=b"\xef\xbb\xbf")
@example(content=b"\xff\xfed\x00a\x00t\x00e\x00")
@example(content=b"\0" * 1_000)
@example(content=b'"' * 1_001)
@example(content=b"date,open,high,low,close,volume\n" + b"," * 100_000)
@example(content=b"date" + b",open" * 5_000 + b"\n1")
@example(content=b"PAR1" + b"\0" * 100 + b"PAR1")
@example(content=b"\x1f\x8b\x08\0" + b"\0" * 50)
@example(content=b"PK\x03\x04" + b"\0" * 50)
def test_any_file_of_prices_is_imported_whole_or_refused(
    ntrader: Command, tmp_path: Path, content: bytes
) -> None:
    for name in ("bars.csv", "bars.parquet"):
        file = tmp_path / name
        file.write_bytes(content)
        done = ntrader("data", "import", file, *IMPORT)
        assert_told(done)
        assert done.exit_code in (0, 2)


@given(row=ROW, place=st.integers(1, 5))
@example(row=("2020-01-03", "1e308", "1e308", "1e308", "1e308", "1e308"), place=3)
@example(row=("2020-01-03", "5e-324", "5e-324", "5e-324", "5e-324", "0"), place=3)
@example(row=("2020-01-03", "nan", "12", "9", "11", "100"), place=3)
@example(row=("2016-12-31 23:59:60", "10", "12", "9", "11", "100"), place=1)
def test_one_bad_line_among_clean_ones_is_refused_or_right(
    ntrader: Command, tmp_path: Path, row: tuple[str, ...], place: int
) -> None:
    rows = [tuple(CLEAN.format(day=day).split(",")) for day in range(1, 7)]
    rows[place] = row
    file = tmp_path / "bars.csv"
    file.write_bytes(csv_of(rows))
    done = ntrader("data", "import", file, *IMPORT, "--json")
    assert_told(done)
    if done.exit_code == 0:
        assert done.json["content_hash"]
        assert_told(ntrader("run", "--strategy=sma", f"--dataset={done.json['content_hash']}"))


def test_a_column_of_nan_is_refused(ntrader: Command, tmp_path: Path) -> None:
    file = tmp_path / "bars.csv"
    file.write_bytes(csv_of([("2020-01-01", "nan", "nan", "nan", "nan", "nan")]))
    refused = ntrader("data", "import", file, *IMPORT)
    assert refused.exit_code == 2
    assert_told(refused)


@given(content=st.binary(max_size=300))
@example(content=b"PK\x05\x06" + b"\0" * 18)
@example(content=b"PK\x05\x06" + b"\xff" * 18)
@example(content=b"PK\x03\x04" + b"\xff" * 60)
@example(
    content=b"PK\x01\x02" + b"\0" * 42 + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0)
)
@example(
    content=b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\0" * 16 + b"PK\x05\x06" + b"\xff" * 18
)
def test_any_file_that_is_no_bundle_is_refused(
    ntrader: Command, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "runs.zip"
    file.write_bytes(content)
    refused = ntrader("import", file)
    assert_told(refused)
    assert refused.exit_code in (1, 2)


@pytest.fixture
def bundle(ntrader: Command, tmp_path: Path) -> bytes:
    """The bytes of a bundle with a run in it."""
    file = tmp_path / "whole.zip"
    assert ntrader("run", "--strategy=sma", "--start=2012-06-01").exit_code == 0
    assert ntrader("export", "@", file).exit_code == 0
    assert ntrader("delete", "@", "--yes").exit_code == 0
    return file.read_bytes()


@given(data=st.data())
def test_a_bundle_with_garbage_in_it_is_refused_and_leaves_nothing(
    ntrader: Command, bundle: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(bundle) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=64))
    drop = data.draw(st.integers(0, 64))
    altered = bundle[:start] + garbage + bundle[start + drop :]
    if altered == bundle:
        return
    file = tmp_path / "altered.zip"
    file.write_bytes(altered)

    refused = ntrader("import", file)

    assert_told(refused)
    assert refused.exit_code in (1, 2)
    assert ntrader("history", "--json").json["runs"] == []


@given(
    key=st.sampled_from(["strategy", "symbol", "dataset", "timeframe", "start", "capital", "seed"]),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.sampled_from(["a\0b", "\x1b[31m", "\u202e", HOSTILE, "x" * 10_000]),
)
@example(key="symbol", value="a\0b")
@example(key="dataset", value="a\0b")
def test_any_text_in_a_configuration(
    ntrader: Command, tmp_path: Path, key: str, value: str
) -> None:
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"strategy": "sma", "start": "2012-12-01", key: value}))
    assert_told(ntrader("run", file))


def test_a_configuration_of_more_than_100_kb_runs(ntrader: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("# why\n" * 50_000 + "strategy: sma\nstart: 2012-12-01\n")
    assert ntrader("run", file).exit_code == 0
    assert ntrader("show", "@").exit_code == 0


def test_a_text_parameter_of_more_than_100_kb_is_kept_and_reproduced(
    ntrader: Command, tmp_path: Path
) -> None:
    text = "\u00e9\u4e2d\U0001f600'\"\n" * 20_000
    strategy = tmp_path / "own.py"
    strategy.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters\n"
        "class P(StrategyParameters):\n    text: str = ''\n"
        "class Own(LongFlatStrategy[P]):\n    Parameters = P\n"
        "    def prepare(self): pass\n    def on_bar(self, bar): pass\n"
    )
    run = ntrader("run", f"--strategy={strategy}:Own", "-p", f"text={text}", "--json")
    assert run.exit_code == 0
    shown = ntrader("show", "@", "--json").json
    assert shown["strategy"]["parameters"]["text"] == text.strip()
    assert ntrader("reproduce", "@").exit_code == 0
    assert_told(ntrader("show", "@"))


@pytest.fixture
def settings_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return where a settings file of a kind is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    config = tmp_path / "config" / "ntrader"
    config.mkdir(parents=True)
    return {".env": tmp_path / ".env", "config.toml": config / "config.toml"}.__getitem__


@given(
    name=st.sampled_from([".env", "config.toml"]),
    content=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: f"log_level = {text!r}\nDATABASE_URL={text}".encode())
    | st.text(max_size=60).map(lambda text: f'NTRADER_LOG_LEVEL="{text}"'.encode()),
)
@example(name="config.toml", content=b"home = 5")
@example(name="config.toml", content=b"database_url = ['a']")
@example(name="config.toml", content=b"[database_url]\npassword = 's3cret'")
@example(name="config.toml", content=b"\xff")
@example(name=".env", content=b"\xff\xfe=1")
@example(name=".env", content=b"NTRADER_HOME=~nobodyatall/x")
@example(name=".env", content=b"DATABASE_URL=mysql://u:s3cret@h/d")
def test_any_file_of_settings(
    ntrader: Command,
    settings_files: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
) -> None:
    if b"postgres" in content.lower():
        return
    for each in (".env", "config.toml"):
        settings_files(each).unlink(missing_ok=True)
    settings_files(name).write_bytes(content)
    # The address of a real server is not looked for: only what reads settings and nothing else.
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/d?connect_timeout=1")
    done = ntrader("db", "url")
    assert_told(done)
    assert done.exit_code in (0, 2)
    assert "s3cret" not in done.stdout + done.stderr


@given(
    password=st.text(
        min_size=6,
        max_size=30,
        alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    spelling=st.sampled_from(
        [
            "postgresql://u:{}@127.0.0.1:1/d",
            "postgres://u:{}@127.0.0.1:1",
            "POSTGRESQL://u:{}@[::1]:1/",
            "postgresql+asyncpg://u:{}@127.0.0.1:1/d?ssl=true",
            "postgresql://127.0.0.1:1/d?password={}",
            "postgresql://u:{}@127.0.0.1:port/d",
            "postgresql://u:{}@127.0.0.1:99999/d",
            "mysql://u:{}@h/d",
            "postgresql://u:{}@",
            "postgresql://u:{}@[::1/d",
            "u:{}@h",
            "host=h password={}",
            "{}",
            "postgresql://u:{}@127.0.0.1:1/d?connect_timeout=soon",
            "postgresql://u:{}@127.0.0.1:1/d#x",
            "postgresql://u:{}@127.0.0.1:1/d?sslmode=nonsense",
            "postgresql://u:{}@127.0.0.1:1/d?x={}",
        ]
    ),
)
@example(password="00000/", spelling="postgresql://u:{}@127.0.0.1:1/d")
@example(password="000000?", spelling="postgresql://u:{}@127.0.0.1:1/d")
@example(password="000&000", spelling="postgresql://127.0.0.1:1/d?password={}")
@example(password="000000", spelling="postgresql://u:{}@127.0.0.1:99999/d")
@example(password="p@ss/word#1?%", spelling="postgresql://u:{}@127.0.0.1:1/d")
@example(password="%zz%00%ff-secret", spelling="postgresql://u:{}@127.0.0.1:1/d")
def test_a_password_is_told_nowhere(
    ntrader: Command, monkeypatch: pytest.MonkeyPatch, password: str, spelling: str
) -> None:
    secret = f"Zq7{password}Zq7"
    monkeypatch.setenv("DATABASE_URL", spelling.format(secret, "1"))
    for arguments in (("history",), ("db", "url"), ("db", "status", "--json")):
        done = ntrader(*arguments)
        assert_told(done)
        assert "Zq7" not in done.stdout + done.stderr
