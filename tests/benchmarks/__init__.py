"""Benchmarks: scripts to run by hand, not tests."""
