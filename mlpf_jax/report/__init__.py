"""What comes out of a run: its result, and its HEPscore report, written and read back."""
