"""The way to a page of a list: along its order, or by what its filter finds.

To walk is to read runs in the list's order and keep those that match, until the page is full. To
gather is to find all that match, by the filter's own indexes, and to sort them. Of a million runs a
walk reads 20 if all match, and a million if the matches are the last; gathering reads the matches.

PostgreSQL chooses well if matches are spread evenly over the order, as it assumes. They hang
together often: a strategy whose runs are all poor, a sweep of last year. So a walk may cost as much
as gathering would; if that does not fill the page, the runs are gathered. Both together cost at
most twice the better of the two, as whoever rents skis until they have cost their price and then
buys them pays at most twice as much (Karlin et al., Competitive snoopy caching, 1988). A shorter
walk, which is tried before where it should be enough, adds at most once as much.
"""

from collections.abc import Sequence
from math import ceil

from ntrader.domain.queries import CREATED_AT, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.storage.plans import Expected
from ntrader.storage.ranked_metrics import RANKED_WITHIN

_WINDOW = {"since", "until"}
# Failed runs have no index of their own by creation; they are a part of any time's runs.
_LISTED_BY_CREATION = ("strategy", "strategy_id", "symbol", "status")
_PATIENCE = 4
"""How many times as far as expected a walk may be: the planner may be wrong."""


def walks(expected: Sequence[Expected], limit: int) -> tuple[int, ...]:
    """Return how many runs of an order to look at, and how many if these do not fill the page.

    Nothing is returned where to gather should take less. `expected` is what the planner says of all
    runs, of one that is looked at, and of those that match: the last are missing if there can be
    none.
    """
    if len(expected) < 3:
        return ()
    every, one, matching = expected
    look = one.cost - one.startup
    if not look:
        # A server whose costs were set to nothing.
        return ()
    # What comes before the first look, such as to read all runs of a tag, a walk does once.
    most = int((matching.cost - one.startup) / look)
    needed = limit * every.rows / matching.rows
    if needed > _PATIENCE * most:
        return ()
    first = ceil(_PATIENCE * needed)
    return (first, most) if first < most else (most,)


def is_at_hand(where: RunFilter, order: RunOrder, after: Cursor | None) -> bool:
    """Whether an index has what matches in the list's order, so that there is nothing to choose."""
    if after is not None and after.value is None:
        # What is undefined has no order but that of the runs' ids.
        return True
    asked = where.parts()
    if where.status is RunStatus.SUCCESS:
        # Nearly all are.
        asked -= {"status"}
    if order.by == CREATED_AT:
        asked -= _WINDOW
        # Who filters by a tag has put it on some runs: they are walked, whatever else is asked.
        return not asked or "tag" in asked or any(asked == {part} for part in _LISTED_BY_CREATION)
    if where.status is RunStatus.FAILED:
        # They have no metrics, and no order but that of their ids.
        return True
    return not asked or any(
        asked == {part} and order.by in metrics for part, metrics in RANKED_WITHIN.items()
    )
