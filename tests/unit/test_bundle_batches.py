"""Runs of a bundle are stored in batches whose files fit into memory."""

import pytest

from ntrader.domain.bundles import FileRecord, RunRecord
from ntrader.services.bundles import in_batches

MEGABYTE = 1 << 20


def run_of(*sizes: int) -> RunRecord:
    files = tuple(FileRecord.model_construct(size_bytes=size) for size in sizes)
    return RunRecord.model_construct(files=files)


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([0] * 120, [50, 50, 20]),
        ([30 * MEGABYTE] * 5, [2, 2, 1]),
        ([64 * MEGABYTE, 0, 1], [2, 1]),
        # A run that is larger than what may be in memory is alone, and is not left out.
        ([1, 500 * MEGABYTE, 500 * MEGABYTE, 1], [1, 1, 1, 1]),
    ],
)
def test_a_batch_has_as_many_runs_as_may_be_in_memory(sizes: list[int], lengths: list[int]) -> None:
    records = [run_of(size // 2, size - size // 2) for size in sizes]

    batches = list(in_batches(records))

    assert [len(batch) for batch in batches] == lengths
    assert [id(each) for batch in batches for each in batch] == [id(each) for each in records]
