"""What a journal entry says of a run is what the run was."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from ntrader.domain.annotations import Annotations
from ntrader.domain.pending import Ending, PendingRun
from ntrader.domain.results import EnhancedBacktestResult
from ntrader.domain.sources import StrategySource
from ntrader.domain.strategies import ParameterSpec
from support.outcomes import make_dataset, make_failure, make_metadata, make_result, make_spec

CHOICE = ParameterSpec(
    name="side", type="str", default="long", description="Which.", choices=("long", "short")
)


def pending_run() -> PendingRun:
    return PendingRun(
        database="db.example:5432/quant",
        metadata=make_metadata(),
        dataset=make_dataset(),
        strategy=make_spec(parameters=(CHOICE,)),
        source=StrategySource(entry="own.py", files={"own.py": b"x = 1\n", "lib.py": b"\xff\x00"}),
        reproduced_from=make_metadata().run_id,
        annotations=Annotations(("night",), "Über\nall."),
    )


def through_json[T: (PendingRun, Ending)](value: T) -> T:
    return type(value).from_json(json.loads(json.dumps(value.to_json())))


def test_a_pending_run_is_read_as_it_was_written() -> None:
    pending = pending_run()

    assert through_json(pending) == pending


def test_a_pending_run_without_source_original_and_note_is_read_as_it_was_written() -> None:
    bare = replace(
        pending_run(), source=None, reproduced_from=None, annotations=Annotations((), None)
    )

    assert through_json(bare) == bare


def test_the_ending_of_a_result_is_read_as_it_was_written() -> None:
    result = make_result()
    assert isinstance(result, EnhancedBacktestResult)

    ending = through_json(Ending.of(result, ()))
    read = ending.result(
        result.metadata, fills=result.fills, trades=result.trades, equity=result.equity
    )

    assert read.metrics == result.metrics
    assert isinstance(read.metrics.final_balance, Decimal)
    assert read == replace(result, metrics=read.metrics)
    assert ending.failure(result.metadata) is None


def test_the_ending_of_a_failure_is_read_as_it_was_written() -> None:
    failure = replace(make_failure(), message="half a pair \ud800, NUL \0", bars_done=17)

    ending = through_json(Ending.of(failure, ()))

    assert ending.failure(failure.metadata) == failure
    with pytest.raises(ValueError, match="succeeded"):
        ending.result(failure.metadata, fills=(), trades=(), equity=make_result().equity)
