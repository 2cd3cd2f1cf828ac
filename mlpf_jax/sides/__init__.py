"""Programs that are alive together on one machine and compute in turns, to be compared."""
