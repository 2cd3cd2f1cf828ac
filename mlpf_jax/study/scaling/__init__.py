"""Scaling studies over devices, batches and events, with each run in its own process."""
