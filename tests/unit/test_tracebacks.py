"""Tracebacks as they are shown: from the user's own code on."""

from ntrader.cli.tracebacks import own_frames

ENGINE = """\
  File "/home/q/.venv/lib/python3.13/site-packages/ntrader/engine/runner.py", line 88, in run
    notices = simulation.run()
  File "nautilus_trader/backtest/engine.pyx", line 1234, in BacktestEngine.run
"""
OWN = """\
  File "/home/q/mine.py", line 7, in on_bar
    self.tell(bar)
    ~~~~~~~~~^^^^^
  File "/home/q/telling.py", line 2, in tell
    raise KeyError("x")
"""
INSIDE = """\
  File "/home/q/.venv/lib/python3.13/site-packages/nautilus_trader/model/x.py", line 3, in f
    g()
"""
HEADER = "Traceback (most recent call last):\n"


def test_the_first_frame_is_the_users_own() -> None:
    assert own_frames(HEADER + ENGINE + OWN + "KeyError: 'x'\n") == HEADER + OWN + "KeyError: 'x'\n"


def test_what_the_users_code_calls_is_kept() -> None:
    text = HEADER + OWN + INSIDE + "ValueError: no\n"

    assert own_frames(HEADER + ENGINE + OWN + INSIDE + "ValueError: no\n") == text


def test_a_fault_of_the_engine_alone_is_shown_whole() -> None:
    text = HEADER + ENGINE + "ValueError: no\n"

    assert own_frames(text) == text


def test_each_part_of_a_chain_is_cut() -> None:
    between = "\nThe above exception was the direct cause of the following exception:\n\n"
    first, second = "KeyError: 'x'\n", "ValueError: no\n"

    shown = own_frames(HEADER + OWN + first + between + HEADER + ENGINE + OWN + second)

    assert shown == HEADER + OWN + first + between + HEADER + OWN + second


def test_what_is_no_traceback_stays_as_it_is() -> None:
    assert own_frames("Terminated.\n  File it") == "Terminated.\n  File it"
    assert own_frames("") == ""
