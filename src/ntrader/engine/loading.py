"""Loading the engine, which is most of what a short backtest takes."""

import gc
from functools import cache


@cache
def load_engine() -> None:
    """Import the engine, once in a process, and free the garbage collector from it.

    It makes some hundred thousand objects that stay to the end. The collector would search them
    while they are made, and all of them again during the run: a tenth of a backtest of 3,000 bars.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        import ntrader.engine.runner  # noqa: F401
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
