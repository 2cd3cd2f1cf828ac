"""Runs a small network for long, and watches memory, descriptors, threads and step time."""
