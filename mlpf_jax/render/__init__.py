"""Renders results as text: tables, and escaping of text from files."""
