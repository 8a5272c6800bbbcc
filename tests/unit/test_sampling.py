"""Showing a long series with few points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntrader.domain.sampling import FEWEST_POINTS, extremes


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=400),
    st.integers(FEWEST_POINTS, 500),
)
def test_few_points_keep_ends_and_extremes(series: list[float], points: int) -> None:
    values = np.array(series)
    indices = extremes(values, points)

    assert len(indices) <= points
    assert indices == sorted(set(indices))
    assert (indices[0], indices[-1]) == (0, len(values) - 1)
    shown = values[indices]
    assert (shown.min(), shown.max()) == (values.min(), values.max())


def test_a_spike_of_one_point_is_shown_among_a_million() -> None:
    values = np.zeros(1_000_000)
    values[123_456] = -1
    values[654_321] = 1
    assert {123_456, 654_321} <= set(extremes(values, 50))


def test_a_short_series_is_shown_whole() -> None:
    assert extremes(np.array([1.0, 2.0, 3.0]), 4) == [0, 1, 2]


def test_fewer_points_than_can_be_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than"):
        extremes(np.zeros(10), 3)
