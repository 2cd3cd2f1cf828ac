"""The graph of the network, its losses and metrics: pure functions of arrays."""
