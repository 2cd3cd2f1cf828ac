"""Statistics: summaries, rank tests, comparisons, change points and scaling laws. No files."""
