"""The programs of this project beside the benchmark itself, one module each."""
