"""One run of the benchmark, from events to a result."""
