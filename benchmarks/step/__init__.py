"""Profiles a step: its parts in isolation, and a trace of the whole step."""
