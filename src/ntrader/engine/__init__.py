"""The trader, on NautilusTrader."""
