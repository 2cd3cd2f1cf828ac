"""What comes out: the result of a run and its HEPscore report."""
