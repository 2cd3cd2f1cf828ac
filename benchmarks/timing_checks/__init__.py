"""Checks of the timing itself."""
