"""Studies: many runs of the benchmark, each a process, planned, run and read."""
