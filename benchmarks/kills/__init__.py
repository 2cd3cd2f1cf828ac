"""Kills runs at random times, resumes them, and compares the bits with an undisturbed run."""
