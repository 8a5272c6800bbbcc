"""Run ntrader as `python -m ntrader`."""

from ntrader.cli.main import entry_point

entry_point()
