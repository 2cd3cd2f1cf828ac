"""What sensors show before, during and after a run: clocks, power, heat, energy."""
