"""Series of bars of any length that are never in memory as a whole."""

from collections.abc import Iterator

import numpy as np

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bars import Bars
from ntrader.engine.catalog import Catalog
from ntrader.engine.instruments import parse_instrument

MINUTE = Timeframe.parse("1m")
IBM = parse_instrument("IBM", "NYSE", InstrumentKind.EQUITY, price_precision=2)
PART = 40_000
FIRST_LABEL = 1_420_070_400_000_000_000


def parts(count: int, instrument: Instrument = IBM) -> Iterator[Bars]:
    """Yield bars of a slow wave, one a minute from 2015 on, so many at a time."""
    for first in range(0, count, PART):
        rows = np.arange(first, min(first + PART, count), dtype=np.int64)
        close = 10_000 + np.rint(500 * np.sin(rows / 300)).astype(np.int64)
        yield Bars(
            times=FIRST_LABEL + rows * MINUTE.nanoseconds,
            open=close - 1,
            high=close + 2,
            low=close - 3,
            close=close,
            volume=rows % 1_000,
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
        )


def stored(catalog: Catalog, count: int) -> str:
    """Store that many bars without holding them, and return their hash."""
    with catalog.draft(parts(count), IBM, MINUTE) as draft:
        draft.keep()
    return draft.content_hash
