"""A run as YAML: the strategy is named as `ntrader run` finds it."""

import pytest
import yaml

from ntrader.services.run_yaml import request_yaml
from support.outcomes import make_snapshot


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("ntrader.engine.strategies.sma:SmaCrossover", "sma"),
        ("my_signals.dip:Dip", "sma"),
        ("/home/q/mine.py:Dip", "/home/q/mine.py:Dip"),
    ],
)
def test_only_a_strategy_in_a_file_is_named_by_its_path(path: str, named: str) -> None:
    snapshot = make_snapshot(strategy="sma").model_copy(update={"strategy_path": path})

    assert yaml.safe_load(request_yaml(snapshot))["strategy"] == named
