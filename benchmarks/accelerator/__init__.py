"""Everything that can be asked of an accelerator, in stages of one budget of time."""
