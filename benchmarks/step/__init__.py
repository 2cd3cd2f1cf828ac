"""Where the time of a step goes: its parts by themselves, and the trace of the whole."""
