"""Sweeps over settings: a grid of points, each run as a workload, with its trade-offs."""
