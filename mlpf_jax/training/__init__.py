"""The optimiser step and how it is spread over devices."""
