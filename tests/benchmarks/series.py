"""A synthetic series for benchmarks: minute bars of a stock, a seeded random walk."""

from pathlib import Path

import numpy as np

MINUTES_A_DAY = 390
FIRST_DAY = "2015-01-02"
OPENS_AT = 14 * 60 + 30


def write_minute_bars(path: Path, count: int, *, seed: int = 20_150_102) -> None:
    """Write `count` bars as CSV: weekdays of 390 minutes, about 20% volatility a year, cents."""
    random = np.random.default_rng(seed)
    volatility = 0.2 / np.sqrt(252 * MINUTES_A_DAY)
    steps = random.standard_t(4, count) / np.sqrt(2) * volatility
    # Pulled back to 150, so that a million bars stay in the range of a real price.
    level, levels = 0.0, np.empty(count)
    for index, step in enumerate(steps.tolist()):
        level += step - level * 1e-6
        levels[index] = level
    close = np.round(150 * np.exp(levels), 2)
    open_ = np.concatenate(([150.0], close[:-1]))
    open_ = np.round(open_ + random.choice([-0.01, 0.0, 0.01], count), 2)
    spread = np.abs(random.normal(0, volatility / 2, (2, count))) * close
    high = np.round(np.maximum(open_, close) + spread[0], 2)
    low = np.round(np.minimum(open_, close) - spread[1], 2)
    volume = random.lognormal(9.5, 0.6, count).astype(np.int64) + 1
    columns = (open_, high, low, close)
    with path.open("w") as file:
        file.write("timestamp,open,high,low,close,volume\n")
        for time, *prices, traded in zip(
            _labels(count), *(column.tolist() for column in columns), volume.tolist(), strict=True
        ):
            file.write(f"{time},{','.join(f'{price:.2f}' for price in prices)},{traded}\n")


def _labels(count: int) -> list[str]:
    days = -(-count // MINUTES_A_DAY)
    dates = np.busday_offset(FIRST_DAY, np.arange(days), roll="forward")
    minutes = np.arange(OPENS_AT, OPENS_AT + MINUTES_A_DAY).astype("timedelta64[m]")
    labels = (dates.astype("datetime64[m]")[:, None] + minutes).ravel()[:count]
    return [f"{label}:00Z" for label in np.datetime_as_string(labels)]
