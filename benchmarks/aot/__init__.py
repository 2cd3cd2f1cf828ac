"""Ahead-of-time compilation: targets without devices, and analysis of compiled programs."""
