"""Fuzzes the readers of files."""
