"""The instruments: clocks, statistics, memory. Nothing here knows the network."""
