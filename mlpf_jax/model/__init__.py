"""The network, its losses and its metrics, as pure functions of arrays."""
