"""The programs of this project besides the benchmark itself, one module each."""
