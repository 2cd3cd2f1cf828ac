"""Measurement instruments: clocks, load, memory, machine state. Independent of the network."""
