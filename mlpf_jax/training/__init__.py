"""The optimiser step and its distribution over devices."""
