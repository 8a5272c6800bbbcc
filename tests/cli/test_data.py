"""`ntrader data`: from a file to a dataset."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command

DESCRIBED = ["--symbol", "ABC", "--venue", "XNYS", "--kind", "equity", "--timeframe", "1d"]

type BarsCsv = Callable[..., Path]


def test_an_imported_file_can_be_run_at_once(ntrader: Command, bars_csv: BarsCsv) -> None:
    imported = ntrader("data", "import", bars_csv(), *DESCRIBED)

    assert imported.exit_code == 0
    assert "ABC.XNYS" in imported.stdout
    run = ntrader("run", "--strategy", "sma", "--symbol", "ABC", "--json").json
    assert run["instrument"] == "ABC.XNYS"
    assert run["dataset"]["name"] == "ABC-1d"


def test_the_same_content_again_is_the_same_dataset(ntrader: Command, bars_csv: BarsCsv) -> None:
    first = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json

    again = ntrader("data", "import", bars_csv("again.csv"), *DESCRIBED, "--name", "other")
    as_json = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json

    assert again.exit_code == 0
    assert "imported before" in again.stderr
    assert (first["new"], as_json["new"]) == (True, False)
    assert as_json["id"] == first["id"]
    assert len(ntrader("data", "list", "--json").json["datasets"]) == 1


def test_new_content_is_a_new_version_under_the_same_name(
    ntrader: Command, bars_csv: BarsCsv
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    newer = ntrader("data", "import", bars_csv("b.csv", moved=10), *DESCRIBED, "--json").json

    assert ntrader("data", "show", "ABC-1d", "--json").json["id"] == newer["id"]
    run = ntrader("run", "--strategy", "sma", "--symbol", "ABC", "--json").json
    assert run["dataset"]["content_hash"] == newer["content_hash"]


def test_show_tells_range_rows_gaps_and_precision(ntrader: Command, bars_csv: BarsCsv) -> None:
    path = bars_csv()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:11] + lines[20:]) + "\n")
    ntrader("data", "import", path, *DESCRIBED)

    shown = ntrader("data", "show", "ABC-1d")
    as_json = ntrader("data", "show", "ABC-1d", "--json").json

    assert as_json["rows"] == 51
    assert as_json["price_precision"] == 2
    assert as_json["start"] == "2020-01-01T00:00:00Z"
    assert as_json["gaps"]["count"] == 1
    assert as_json["gaps"]["largest"][0]["after"] == "2020-01-10T00:00:00Z"
    for part in ("2020-01-01", "2 decimals", "51", "2020-01-10"):
        assert part in shown.stdout


def test_verify_finds_a_changed_price(ntrader: Command, bars_csv: BarsCsv, home: Path) -> None:
    first = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json
    other = ntrader("data", "import", bars_csv("b.csv", moved=5), *DESCRIBED, "--json").json
    assert ntrader("data", "verify", first["content_hash"]).exit_code == 0

    stored = home / "datasets"
    (good,) = (stored / first["content_hash"]).rglob("bar/**/*.parquet")
    (bad,) = (stored / other["content_hash"]).rglob("bar/**/*.parquet")
    good.write_bytes(bad.read_bytes())

    changed = ntrader("data", "verify", first["content_hash"], "--json")
    assert changed.exit_code == 1
    assert changed.json["intact"] is False
    assert changed.json["computed_hash"] == other["content_hash"]


def test_a_run_refuses_data_that_are_damaged(
    ntrader: Command, bars_csv: BarsCsv, home: Path
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    (file,) = (home / "datasets").rglob("bar/**/*.parquet")
    file.write_bytes(b"nothing like Parquet")

    refused = ntrader("run", "--strategy", "sma", "--symbol", "ABC")

    assert refused.exit_code == 1
    assert "damaged" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_importing_again_repairs_a_damaged_copy(
    ntrader: Command, bars_csv: BarsCsv, home: Path
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)
    (file,) = (home / "datasets").rglob("bar/**/*.parquet")
    file.write_bytes(b"nothing like Parquet")

    ntrader("data", "import", bars_csv(), *DESCRIBED)

    assert ntrader("data", "verify", "ABC-1d").exit_code == 0


def test_delete_is_refused_while_runs_use_the_dataset(
    ntrader: Command, bars_csv: BarsCsv, home: Path
) -> None:
    used = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json
    free = ntrader("data", "import", bars_csv("b.csv", moved=5), *DESCRIBED, "--json").json
    ntrader("run", "--strategy", "sma", "--dataset", used["content_hash"])

    refused = ntrader("data", "delete", used["content_hash"], "--yes", "--json")
    deleted = ntrader("data", "delete", free["content_hash"], "--yes")

    assert refused.exit_code == 1
    assert refused.json["error"]["code"] == "conflict"
    assert deleted.exit_code == 0
    listed = ntrader("data", "list", "--json").json["datasets"]
    assert [dataset["id"] for dataset in listed] == [used["id"]]
    assert not (home / "datasets" / free["content_hash"]).exists()


def test_delete_without_a_terminal_needs_yes(ntrader: Command, bars_csv: BarsCsv) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)

    refused = ntrader("data", "delete", "ABC-1d")

    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert len(ntrader("data", "list", "--json").json["datasets"]) == 1


def test_the_columns_of_a_file_without_a_header_can_be_named(
    ntrader: Command, tmp_path: Path
) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("02/01/2020;10;12;9;11;x\n03/01/2020;10;12;9;11;x\n")
    columns = ("--columns", "time,open,high,low,close,-")

    unnamed = ntrader("data", "import", path, *DESCRIBED)
    undated = ntrader("data", "import", path, *DESCRIBED, *columns)
    imported = ntrader("data", "import", path, *DESCRIBED, *columns, "--dayfirst", "--json")
    american = ntrader("data", "import", path, *DESCRIBED, *columns, "--monthfirst", "--json")

    assert (unnamed.exit_code, undated.exit_code) == (2, 2)
    assert "--columns" in unnamed.stderr
    assert "--dayfirst" in undated.stderr
    assert imported.json["start"] == "2020-01-02T00:00:00Z"
    assert american.exit_code == 0
    assert american.json["start"] == "2020-02-01T00:00:00Z"


def test_the_name_of_a_dataset_stays_and_that_is_told(ntrader: Command, bars_csv: BarsCsv) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)

    again = ntrader("data", "import", bars_csv(), *DESCRIBED, "--name", "other", "--json").json
    unnamed = ntrader("data", "import", bars_csv(), *DESCRIBED, "--json").json

    assert again["name"] == "ABC-1d"
    assert again["warnings"] == ["The dataset keeps the name ABC-1d."]
    assert unnamed["warnings"] == []


@pytest.mark.parametrize("name", ["", "  "])
def test_a_dataset_needs_a_name(ntrader: Command, bars_csv: BarsCsv, name: str) -> None:
    refused = ntrader("data", "import", bars_csv(), *DESCRIBED, "--name", name)

    assert refused.exit_code == 2
    assert "name" in refused.stderr
    assert ntrader("data", "list", "--json").json["datasets"] == []


def test_a_name_is_kept_without_the_blanks_around_it(ntrader: Command, bars_csv: BarsCsv) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED, "--name", " mine ")

    assert ntrader("data", "show", "mine", "--json").json["name"] == "mine"


def test_a_name_that_two_instruments_share_is_ambiguous(
    ntrader: Command, bars_csv: BarsCsv
) -> None:
    path = bars_csv()
    ntrader("data", "import", path, *DESCRIBED)
    elsewhere = ["XETR" if part == "XNYS" else part for part in DESCRIBED]
    other = ntrader("data", "import", path, *elsewhere, "--json").json

    refused = ntrader("data", "show", "ABC-1d")
    by_symbol = ntrader("run", "--strategy", "sma", "--symbol", "ABC")

    assert refused.exit_code == 2
    for part in ("ABC.XNYS", "ABC.XETR", other["content_hash"][:16]):
        assert part in refused.stderr
    assert by_symbol.exit_code == 2
    assert f"--dataset {other['content_hash'][:8]}" in by_symbol.stderr
    run = ntrader(
        *("run", "--strategy", "sma", "--dataset", other["content_hash"][:8], "--json")
    ).json
    assert run["instrument"] == "ABC.XETR"


@pytest.mark.parametrize(("given", "meant"), [("ibm", "IBM"), ("Abc", "ABC"), ("A/BC", "ABC")])
def test_a_symbol_that_is_spelled_otherwise_is_suggested(
    ntrader: Command, bars_csv: BarsCsv, given: str, meant: str
) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)

    refused = ntrader("run", "--strategy", "sma", "--symbol", given)

    assert refused.exit_code == 3
    assert f"Did you mean {meant}?" in refused.stderr


def test_a_list_has_the_datasets_that_are_asked_for(ntrader: Command, bars_csv: BarsCsv) -> None:
    path = bars_csv()
    ntrader("data", "import", path, *DESCRIBED)
    of_crypto = ("--venue", "BINANCE", "--kind", "crypto", "--timeframe", "1d")
    ntrader("data", "import", path, "--symbol", "ABC/USDT", *of_crypto)

    def listed(*options: str) -> list[str]:
        found = ntrader("data", "list", *options, "--json").json["datasets"]
        return [each["symbol"] for each in found]

    assert listed() == ["ABC/USDT", "ABC"]
    assert listed("--symbol", "ABC") == listed("--kind", "equity") == ["ABC"]
    assert listed("--venue", "BINANCE", "--timeframe", "1d") == ["ABC/USDT"]
    nothing = ntrader("data", "list", "--timeframe", "4h")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No dataset matches" in nothing.stderr
    assert ntrader("data", "list", "--timeframe", "1y").exit_code == 2


def test_the_facts_of_a_dataset_are_aligned(ntrader: Command, bars_csv: BarsCsv) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED)

    lines = ntrader("data", "show", "ABC-1d").stdout.splitlines()

    starts = {
        line.split()[0]: re.match(r"\S+(?: \S+)*\s{2,}", line).end()  # type: ignore[union-attr]
        for line in lines
        if line.startswith(("Dataset", "Source", "Used by", "Gaps"))
    }
    assert len(starts) == 4
    assert len(set(starts.values())) == 1


BAD_FILES = {
    "missing column": (b"date,open,high,low\n2020-01-01,1,2,1\n", "close"),
    "unparsable time": (b"date,open,high,low,close,volume\nsoon,1,2,1,1,1\n", "line 2"),
    "duplicate time": (
        b"date,open,high,low,close,volume\n2020-01-01,1,2,1,1,1\n2020-01-01,1,2,1,1,1\n",
        "line 3",
    ),
    "unsorted": (
        b"date,open,high,low,close,volume\n2020-01-03,1,2,1,1,1\n2020-01-01,1,2,1,1,1\n"
        b"2020-01-02,1,2,1,1,1\n",
        "line 3",
    ),
    "future": (b"date,open,high,low,close,volume\n2199-01-01,1,2,1,1,1\n", "line 2"),
    "high below low": (b"date,open,high,low,close,volume\n2020-01-01,1,1,2,1,1\n", "line 2"),
    "negative price": (b"date,open,high,low,close,volume\n2020-01-01,1,2,-1,1,1\n", "line 2"),
    "NaN price": (b"date,open,high,low,close,volume\n2020-01-01,1,2,nan,1,1\n", "line 2"),
    "empty file": (b"", "empty"),
    "header only": (b"date,open,high,low,close,volume\n", "no "),
    "binary": (bytes(range(256)) * 10, "text"),
}


@pytest.mark.parametrize("case", BAD_FILES, ids=str)
def test_bad_data_is_refused_and_nothing_is_stored(
    ntrader: Command, tmp_path: Path, home: Path, case: str
) -> None:
    content, said = BAD_FILES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)

    refused = ntrader("data", "import", path, *DESCRIBED)

    assert refused.exit_code == 2
    assert said in refused.stderr.lower()
    assert "Traceback" not in refused.stderr
    assert ntrader("data", "list", "--json").json["datasets"] == []
    assert not list((home / "datasets").glob("*")) if (home / "datasets").exists() else True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--timeframe": "7d"}, "7d"),
        ({"--kind": "bond"}, "bond"),
        ({"--venue": "a b"}, "a b"),
        ({"--symbol": "A\x1b[31mB"}, "symbol"),
        ({"--kind": "crypto"}, "ABC"),
    ],
    ids=str,
)
def test_a_wrong_description_is_refused(
    ntrader: Command, bars_csv: BarsCsv, changes: dict[str, str], said: str
) -> None:
    pairs = dict(zip(DESCRIBED[::2], DESCRIBED[1::2], strict=True)) | changes
    arguments = [part for pair in pairs.items() for part in pair]

    refused = ntrader("data", "import", bars_csv(), *arguments)

    assert refused.exit_code == 2
    assert said in refused.stderr
    assert "\x1b[31m" not in refused.stderr


def test_a_directory_is_refused(ntrader: Command, tmp_path: Path) -> None:
    refused = ntrader("data", "import", tmp_path, *DESCRIBED)

    assert refused.exit_code == 2
    assert "directory" in refused.stderr


def test_two_datasets_of_a_symbol_must_be_told_apart(ntrader: Command, bars_csv: BarsCsv) -> None:
    ntrader("data", "import", bars_csv(), *DESCRIBED, "--name", "one")
    ntrader("data", "import", bars_csv("b.csv", moved=5), *DESCRIBED, "--name", "two")

    refused = ntrader("run", "--strategy", "sma", "--symbol", "ABC")

    assert refused.exit_code == 2
    assert "one" in refused.stderr
    assert "two" in refused.stderr
    assert ntrader("run", "--strategy", "sma", "--dataset", "two").exit_code == 0
