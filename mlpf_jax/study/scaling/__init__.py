"""Scaling studies: many runs of the benchmark, each a process, over devices, batches and events."""
