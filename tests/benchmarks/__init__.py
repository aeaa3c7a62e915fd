"""Benchmarks: figures and ratios, each measured in one run beside its target."""
