"""Numbers in, numbers out: summaries, rank tests, comparisons, change points, laws. No files."""
