"""Whatever is said to a command, it answers with a result or with a clear error."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ntrader.domain.queries import ORDERS, Cursor, RunFilter, RunOrder
from support.commands import Command
from support.hostile import HOSTILE, assert_told
from support.saving import SaveRun

# What an argument of a process can hold: any text but NUL, and bytes that are no text.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF, exclude_categories=[]
)
ARGUMENTS = st.text(CHARACTERS, max_size=200) | st.sampled_from(
    [
        "",
        " ",
        "-",
        "--",
        "@",
        "@~",
        "@~0",
        f"@~{10**18}",
        f"@~{10**30}",
        "0" * 32,
        "f" * 36,
        "nan",
        "inf",
        "-inf",
        "1e400",
        "-0.0",
        "1e308",
        "5e-324",
        "9" * 400,
        "0x10",
        "1_000",
        "0001-01-01",
        "9999-12-31",
        "9999-12-31T23:59:59.999999",
        "2016-12-31T23:59:60",
        "2000-02-30",
        "1900-02-29",
        "2024-03-31T02:30+01:00",
        "0001-01-01T00:00+23:59",
        "9999-12-31T23:59-23:59",
        "2024-W01-1",
        "20240101",
        "24:00",
        "�",
        HOSTILE,
        "x" * 10000,
    ]
)


@pytest.fixture
def stored(ntrader: Command, save_run: SaveRun) -> Command:
    """Run a command on a store that holds two runs."""
    save_run()
    save_run(failed=True, strategy="rsi", symbol="GOOG")
    return ntrader


@given(text=ARGUMENTS)
@example(text="@~999999999999999999")
def test_a_reference(stored: Command, text: str) -> None:
    for command in ("show", "note", "reproduce"):
        assert_told(stored(command, "--", text))
    assert_told(stored("compare", "--", text, "@"))
    assert_told(stored("delete", "--dry-run", "--", text))


@given(
    option=st.sampled_from(
        [
            "--strategy",
            "--type",
            "--symbol",
            "--timeframe",
            "--status",
            "--since",
            "--until",
            "--tag",
            "-p",
            "--sort",
            "--limit",
            "--after",
        ]
    ),
    text=ARGUMENTS,
    more=st.sampled_from([(), ("--json",), ("--csv",)]),
)
def test_a_filter(stored: Command, option: str, text: str, more: tuple[str, ...]) -> None:
    result = stored("history", f"{option}={text}" if option != "-p" else f"-p{text}", *more)
    if "--csv" in more and result.exit_code == 0:
        assert "Traceback" not in result.stderr
    else:
        assert_told(result)


@pytest.mark.parametrize(
    "arguments",
    [
        ("history", "--strategy=\udcff"),
        ("history", "--param=x=\udcff"),
        ("history", "--param=\udcff=1"),
        ("data", "show", "\udcff"),
        ("run", "--strategy=sma", "--symbol=\udcff"),
        ("run", "--strategy=sma", "--dataset=\udcff"),
    ],
    ids=repr,
)
def test_bytes_that_are_no_text_are_wrong_use(stored: Command, arguments: tuple[str, ...]) -> None:
    refused = stored(*arguments)
    assert_told(refused)
    assert refused.exit_code == 2
    assert "no text" in refused.stderr


@pytest.mark.parametrize("instant", ["0001-01-01T00:00+23:59", "9999-12-31T23:59:59-00:01"])
def test_an_instant_beyond_the_calendar_is_wrong_use(stored: Command, instant: str) -> None:
    for arguments in (
        ("history", f"--since={instant}"),
        ("history", f"--until={instant}"),
        ("run", "--strategy=sma", f"--start={instant}"),
        ("run", "--strategy=sma", f"--end={instant}"),
    ):
        refused = stored(*arguments)
        assert_told(refused)
        assert refused.exit_code == 2
        assert "beyond the calendar" in refused.stderr


def test_a_parameter_that_is_no_number_is_looked_for_as_text(
    ntrader: Command, save_run: SaveRun
) -> None:
    run = str(save_run(parameters={"kind": "nan"}))
    save_run(parameters={"kind": "infinite"})
    found = ntrader("history", "--param=kind=nan", "--json").json["runs"]
    assert [each["run_id"] for each in found] == [run]
    assert ntrader("history", "--param=kind=inf").exit_code == 0


@given(name=ARGUMENTS, value=ARGUMENTS)
@example(name="fast_period", value="nan")
@example(name="fast_period", value="1e400")
@example(name="fast_period", value="9" * 5_000)
@example(name="fast_period", value="1_0")
@example(name="fast_period", value="\udcff")
def test_a_filter_on_a_parameter(stored: Command, name: str, value: str) -> None:
    assert_told(stored("history", f"--param={name}={value}", "--json"))


@given(
    value=st.none()
    | st.text(max_size=40)
    | st.sampled_from(["NaN", "Infinity", "1e999", "0" * 99]),
    number=st.integers(-(2**70), 2**70),
    order=st.sampled_from(ORDERS),
    ascending=st.booleans(),
)
@example(value="1e400", number=1, order="sharpe_ratio", ascending=False)
@example(value="1e20", number=1, order="total_trades", ascending=False)
@example(value="0001-01-01T00:00:00+23:59", number=1, order="created_at", ascending=True)
@example(value=None, number=1, order="created_at", ascending=True)
def test_a_cursor_that_somebody_made_up(
    stored: Command, value: str | None, number: int, order: str, ascending: bool
) -> None:
    sort = RunOrder(order, ascending)
    cursor = Cursor(Cursor.scope_of(RunFilter(), sort), value, number)
    assert_told(stored("history", "--sort", str(sort), f"--after={cursor.encode()}"))


@given(
    option=st.sampled_from(
        [
            "--strategy",
            "--symbol",
            "--dataset",
            "--timeframe",
            "--start",
            "--end",
            "--capital",
            "--equity-fraction",
            "--fee",
            "--slippage",
            "--seed",
            "--tag",
            "--note",
            "-pfast_period",
        ]
    ),
    text=ARGUMENTS,
)
@example(option="--capital", text="1e99999")
@example(option="--capital", text="0.00001")
@example(option="--capital", text="99999999999999")
@example(option="--end", text="0001-01-01")
@example(option="--start", text="9999-12-31")
@example(option="--seed", text="9" * 5_000)
def test_an_option_of_a_run(ntrader: Command, option: str, text: str) -> None:
    assert_told(
        ntrader("run", "--strategy=sma", "--start=2012-12-01", f"{option}={text}", "--no-progress")
    )


@given(text=ARGUMENTS)
def test_a_name_of_a_strategy_or_of_data(ntrader: Command, text: str) -> None:
    assert_told(ntrader("strategies", "--", text))
    assert_told(ntrader("data", "show", "--", text))
    assert_told(ntrader("data", "verify", "--", text))
    assert_told(ntrader("data", "delete", "--yes", "--", text))


@given(text=ARGUMENTS)
def test_a_tag_and_a_note(stored: Command, text: str) -> None:
    tagged = stored("tag", "--json", "@", "--", text)
    assert_told(tagged)
    if tagged.exit_code == 0:
        assert_told(stored("history", f"--tag={text}"))
        assert stored("tag", "--remove", "@", "--", text).exit_code == 0
    noted = stored("note", "--json", "@", "--", text)
    assert_told(noted)
    assert_told(stored("show", "@"))


@given(text=ARGUMENTS)
def test_the_path_of_a_file(stored: Command, tmp_path: Path, text: str) -> None:
    for arguments in (("run",), ("import",), ("export", "@")):
        assert_told(stored(*arguments, "--", tmp_path / "absent" / text))
    assert_told(
        stored(
            *("data", "import", "--symbol=A", "--venue=B", "--kind=equity", "--timeframe=1d"),
            *("--", tmp_path / "absent" / text),
        )
    )


@given(
    symbol=ARGUMENTS, venue=ARGUMENTS, name=ARGUMENTS, description=ARGUMENTS, timeframe=ARGUMENTS
)
def test_what_is_said_of_data(
    ntrader: Command,
    bars: Path,
    symbol: str,
    venue: str,
    name: str,
    description: str,
    timeframe: str,
) -> None:
    said = {"symbol": "ACME", "venue": "NYSE", "timeframe": "1d"}
    for key, value in {
        "symbol": symbol,
        "venue": venue,
        "timeframe": timeframe,
        "name": name,
        "description": description,
        "currency": name,
        "timezone": name,
        "columns": description,
    }.items():
        options = [f"--{option}={text}" for option, text in {**said, key: value}.items()]
        assert_told(ntrader("data", "import", bars, "--kind=equity", *options))
    assert_told(ntrader("data", "list"))


@pytest.fixture
def bars(bars_csv: object) -> Path:
    """A small file of clean bars."""
    assert callable(bars_csv)
    path = bars_csv(count=5)
    assert isinstance(path, Path)
    return path
