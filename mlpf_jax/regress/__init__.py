"""The regression gate: runs two sides in turns, each run a process, and judges what they cost."""
