"""Finding strategies: by name, in files, in installed packages; their parameters."""

import contextlib
import hashlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ntrader.domain.strategies import StrategySpec
from ntrader.engine.strategies.registry import all_strategies, built_in_strategies, find_strategy
from ntrader.errors import InvalidConfigError, NotFoundError, NtraderError

MINE = '''\
from enum import StrEnum
from typing import Literal, Optional

from pydantic import Field, model_validator

from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters


class Side(StrEnum):
    UP = "up"
    DOWN = "down"


class MineParameters(StrategyParameters):
    period: int = Field(5, ge=1, le=100, description="Bars to look at")
    level: float = Field(0.5, gt=0, lt=1)
    eager: bool = False
    side: Side = Side.UP
    price: Literal["open", "close"] = "close"
    stop: Optional[int] = Field(None, ge=1)

    @model_validator(mode="after")
    def _stop_is_near(self):
        if self.stop is not None and self.stop > self.period:
            raise ValueError("stop must not exceed period")
        return self


class Mine(LongFlatStrategy[MineParameters]):
    """Does something of my own.

    In more words.
    """

    version = "0.3.1"
    strategy_type = "mine"
    Parameters = MineParameters

    def on_bar(self, bar):
        pass


class NoStrategy:
    pass
'''


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(content: str = MINE, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return write_file


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget what a test has imported."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "ntrader_user" in name or name.startswith("neighbour"):
            del sys.modules[name]


def mine(write: Callable[..., Path]) -> Any:
    return find_strategy(f"{write()}:Mine")


# Names


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("sma", "sma"),
        ("SMA", "sma"),
        ("sma_crossover", "sma"),
        ("sma-crossover", "sma"),
        ("SMA Crossover", "sma"),
        ("rsi", "rsi"),
        ("rsi_mean_reversion", "rsi"),
        ("RSI-Mean-Reversion", "rsi"),
        ("momentum", "momentum"),
        (" Momentum ", "momentum"),
    ],
)
def test_a_strategy_is_found_by_any_of_its_names(reference: str, name: str) -> None:
    assert find_strategy(reference).spec.name == name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_strategy("macd")

    assert "'macd'" in caught.value.message
    assert "sma, rsi, momentum" in str(caught.value.hint)


def test_built_in_strategies_say_what_they_are() -> None:
    specs = [definition.spec for definition in built_in_strategies()]

    assert [(spec.name, spec.type, spec.version) for spec in specs] == [
        ("sma", "trend_following", "1.0.0"),
        ("rsi", "mean_reversion", "1.0.0"),
        ("momentum", "momentum", "1.0.0"),
    ]
    assert all(spec.description for spec in specs)
    assert all(parameter.description for spec in specs for parameter in spec.parameters)
    assert all(parameter.default is not None for spec in specs for parameter in spec.parameters)


def test_a_built_in_strategy_names_its_class_and_pins_its_source() -> None:
    spec = find_strategy("sma").spec
    source = Path(__file__).parents[2] / "src/ntrader/engine/strategies/sma.py"

    assert spec.path == "ntrader.engine.strategies.sma:SmaCrossover"
    assert spec.source_hash == hashlib.sha256(source.read_bytes()).hexdigest()


# Files


def test_a_file_gives_a_strategy_with_all_it_declares(write: Callable[..., Path]) -> None:
    path = write()
    spec = find_strategy(f"{path}:Mine").spec

    digest = hashlib.sha256(MINE.encode()).hexdigest()
    assert (spec.name, spec.type, spec.description) == ("Mine", "mine", "Does something of my own.")
    assert (spec.path, spec.source_hash) == (f"{path}:Mine", digest)
    assert spec.version == f"0.3.1+{digest[:12]}"
    assert [parameter.to_dict() for parameter in spec.parameters] == [
        {
            "name": "period",
            "type": "integer",
            "default": 5,
            "description": "Bars to look at",
            "minimum": 1,
            "maximum": 100,
        },
        {
            "name": "level",
            "type": "number",
            "default": 0.5,
            "description": "",
            "exclusive_minimum": 0,
            "exclusive_maximum": 1,
        },
        {"name": "eager", "type": "boolean", "default": False, "description": ""},
        {
            "name": "side",
            "type": "string",
            "default": "up",
            "description": "",
            "choices": ["up", "down"],
        },
        {
            "name": "price",
            "type": "string",
            "default": "close",
            "description": "",
            "choices": ["open", "close"],
        },
        {"name": "stop", "type": "integer", "default": None, "description": "", "minimum": 1},
    ]


def test_a_relative_path_with_spaces_and_umlauts_works(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(name="meine Ideen/größer, schöner.py")
    monkeypatch.chdir(tmp_path)

    spec = find_strategy("meine Ideen/größer, schöner.py:Mine").spec

    assert spec.path == f"{path}:Mine"


def test_a_strategy_may_import_its_neighbours(write: Callable[..., Path]) -> None:
    write("LENGTH = 7\n", name="neighbour_of_mine.py")
    path = write("from neighbour_of_mine import LENGTH\n" + MINE.replace("(5, ", "(LENGTH, "))

    assert find_strategy(f"{path}:Mine").spec.defaults["period"] == 7


@pytest.mark.parametrize("content", [MINE, "1 / 0"])
def test_the_import_path_is_left_as_it_was(write: Callable[..., Path], content: str) -> None:
    before = list(sys.path)

    with contextlib.suppress(InvalidConfigError):
        find_strategy(f"{write(content)}:Mine")

    assert sys.path == before


def test_a_changed_file_is_another_version(write: Callable[..., Path]) -> None:
    before: StrategySpec = mine(write).spec

    after = find_strategy(f"{write(MINE.replace('0.5', '0.6'))}:Mine").spec

    assert before.version != after.version
    assert (before.defaults["level"], after.defaults["level"]) == (0.5, 0.6)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.py cannot be read: No such file"):
        find_strategy(f"{tmp_path}/none.py:Mine")


def test_a_file_without_a_class_asks_for_one(write: Callable[..., Path]) -> None:
    path = write()

    with pytest.raises(NotFoundError) as caught:
        find_strategy(str(path))

    assert f"{path}:ClassName" in str(caught.value.hint)


def test_a_missing_class_lists_those_that_are_there(write: Callable[..., Path]) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_strategy(f"{write()}:Yours")

    assert "'Yours'" in caught.value.message
    assert caught.value.hint == "It defines Side, MineParameters, Mine, NoStrategy."


def test_a_class_that_is_no_strategy_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        find_strategy(f"{write()}:NoStrategy")

    assert "NoStrategy is not a strategy" in caught.value.message
    assert "LongFlatStrategy" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1\ndef broken(:\n", "line 2, cannot be imported: SyntaxError"),
        ("x = 1\n\nimport nothing_of_that_name\n", "line 3, cannot be imported: ModuleNotFound"),
        ("def f():\n    return 1 / 0\nf()\n", "line 2, cannot be imported: ZeroDivisionError"),
        ("import sys\nsys.exit(4)\n", "it called exit(4)"),
        ("x = '\0'\n", "cannot be imported"),
        ("x = '\\ud800'.encode()\n", "cannot be imported: UnicodeEncodeError"),
    ],
)
def test_a_file_that_cannot_be_imported_names_the_line(
    write: Callable[..., Path], content: str, said: str
) -> None:
    before = set(sys.modules)

    with pytest.raises(InvalidConfigError) as caught:
        find_strategy(f"{write(content)}:Mine")

    assert said in caught.value.message
    left = set(sys.modules) - before
    assert not [name for name in left if name.startswith("ntrader_user")]


def test_what_a_file_prints_goes_to_stderr(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout belongs to the results."""
    find_strategy(f"{write('print(1 + 1)' + chr(10) + MINE)}:Mine")

    assert capsys.readouterr() == ("", "2\n")


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "latest", "1.0.0 beta", "01.0.0"])
def test_a_version_that_is_not_semantic_is_refused(
    write: Callable[..., Path], version: str
) -> None:
    path = write(MINE.replace("0.3.1", version))

    with pytest.raises(InvalidConfigError) as caught:
        find_strategy(f"{path}:Mine")

    assert f"{version!r} is not a version for Mine" in caught.value.message


def test_a_version_with_build_metadata_keeps_it(write: Callable[..., Path]) -> None:
    spec = find_strategy(f"{write(MINE.replace('0.3.1', '1.0.0-rc.1+mac'))}:Mine").spec

    assert spec.version == f"1.0.0-rc.1+mac.{spec.source_hash[:12]}"


# Installed packages


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution of one module that declares one strategy."""

    def install_package(module: str, entry_point: str) -> None:
        site = tmp_path / "site"
        info = site / "neighbours-1.2.dist-info"
        info.mkdir(parents=True)
        (site / "neighbours.py").write_text(module)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: neighbours\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[ntrader.strategies]\n{entry_point}\n")
        monkeypatch.syspath_prepend(str(site))

    return install_package


def test_an_installed_strategy_is_found_by_its_entry_point(
    install: Callable[[str, str], None],
) -> None:
    install(MINE, "next_door = neighbours:Mine")

    spec = find_strategy("Next-Door").spec

    assert (spec.name, spec.version) == ("next_door", "0.3.1")
    assert spec.path == "neighbours:Mine"
    assert spec.source_hash == hashlib.sha256(MINE.encode()).hexdigest()
    assert [definition.spec.name for definition in all_strategies()] == [
        "sma",
        "rsi",
        "momentum",
        "next_door",
    ]


@pytest.mark.parametrize(
    ("module", "entry_point", "said"),
    [
        (MINE, "next_door = neighbours:Yours", "has no attribute 'Yours'"),
        (MINE, "next_door = neighbours:NoStrategy", "neighbours:NoStrategy is not a strategy"),
        (MINE, "next_door = neighbours_too:Mine", "No module named 'neighbours_too'"),
        ("1 / 0", "next_door = neighbours:Mine", "ZeroDivisionError"),
        ("import sys; sys.exit()", "next_door = neighbours:Mine", "it called exit(None)"),
        ("def f(:", "next_door = neighbours:Mine", "SyntaxError"),
        ("Mine = 5", "next_door = neighbours:Mine", "neighbours:Mine is not a strategy"),
    ],
)
def test_an_installed_strategy_that_is_broken_is_named(
    install: Callable[[str, str], None], module: str, entry_point: str, said: str
) -> None:
    install(module, entry_point)

    with pytest.raises(InvalidConfigError) as caught:
        find_strategy("next_door")

    assert said in caught.value.message


# Parameters


def test_parameters_that_are_left_out_take_their_defaults() -> None:
    assert find_strategy("sma").check({"fast_period": 5}) == {"fast_period": 5, "slow_period": 20}


def test_parameters_are_read_from_text(write: Callable[..., Path]) -> None:
    checked = mine(write).check(
        {"period": "12", "level": "2.5e-1", "eager": "true", "side": "down", "stop": "3"}
    )

    assert checked == {
        "period": 12,
        "level": 0.25,
        "eager": True,
        "side": "down",
        "price": "close",
        "stop": 3,
    }
    assert isinstance(checked["eager"], bool)


def test_an_optional_parameter_that_is_not_set_is_left_out(write: Callable[..., Path]) -> None:
    assert "stop" not in mine(write).check({})


def test_one_value_is_one_question_however_it_is_written() -> None:
    rsi = find_strategy("rsi")

    assert rsi.check({"oversold_threshold": 30}) == rsi.check({"oversold_threshold": "30.0"})


@pytest.mark.parametrize(
    ("strategy", "values", "said"),
    [
        ("sma", {"fast": 5}, "fast: there is no such name"),
        ("sma", {"fast_period": 0}, "fast_period: should be greater than or equal to 1"),
        ("sma", {"fast_period": "ten"}, "fast_period: should be a valid integer"),
        ("sma", {"fast_period": 2.5}, "fast_period: should be a valid integer"),
        ("sma", {"fast_period": 30}, "fast_period must be below slow_period"),
        ("sma", {"fast_period": 20}, "fast_period must be below slow_period"),
        ("rsi", {"oversold_threshold": "nan"}, "oversold_threshold: should be a finite"),
        ("rsi", {"oversold_threshold": 80}, "oversold_threshold must be below overbought"),
        ("momentum", {"momentum_threshold": "inf"}, "momentum_threshold: should be a finite"),
        ("momentum", {"holding_period": -1}, "holding_period: should be greater"),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    strategy: str, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        find_strategy(strategy).check(values)

    assert said in caught.value.message
    assert f"ntrader strategies {strategy}" in str(caught.value.hint)


def test_rules_over_several_parameters_of_a_file_are_checked(write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidConfigError, match="stop must not exceed period"):
        mine(write).check({"stop": 6})


def test_a_parameter_that_is_not_flat_is_refused(write: Callable[..., Path]) -> None:
    """Runs are found by the values of their parameters."""
    path = write(
        textwrap.dedent("""\
            from ntrader.engine.strategies import LongFlatStrategy, StrategyParameters

            class Many(StrategyParameters):
                periods: list[int] = [1, 2]

            class Mine(LongFlatStrategy[Many]):
                Parameters = Many
            """)
    )

    with pytest.raises(NtraderError, match="periods: a parameter is a number, a text or a truth"):
        find_strategy(f"{path}:Mine").check({})
