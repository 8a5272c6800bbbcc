"""Showing a long series with few points, without losing what matters in it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_POINTS = 4


def extremes(values: "NDArray[np.float64]", points: int) -> list[int]:
    """Return the indices of at most `points` values, ascending: the series as it looks.

    The first and the last value are among them, and of each stretch of equal length its least and
    its greatest: whatever the number of points, the least and the greatest of all are shown.

    Raises:
        ValueError: `points` is below `FEWEST_POINTS`.
    """
    import numpy as np

    if points < FEWEST_POINTS:
        raise ValueError(f"a series cannot be shown with fewer than {FEWEST_POINTS} points")
    count = len(values)
    if count <= points:
        return list(range(count))
    buckets = (points - 2) // 2
    edges = np.linspace(0, count, buckets + 1).astype(np.int64)
    chosen = {0, count - 1}
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        stretch = values[first:end]
        chosen.update((first + int(np.argmin(stretch)), first + int(np.argmax(stretch))))
    return sorted(chosen)
