"""The result of a run, and its HEPscore report: writing and reading."""
