"""Compares reports: ratios, histories, and the tables of the talk."""
