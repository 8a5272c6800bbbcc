"""Version control for backtests."""
