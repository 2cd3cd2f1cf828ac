"""Studies: plans, runs and evaluates many runs of the benchmark, each in its own process."""
