"""Benchmarks with a load of their own: `scripts/bench`. Seconds, and ratios of things measured in one run."""
