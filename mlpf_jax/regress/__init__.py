"""The regression gate: runs two sides alternately, each run in a process, and compares costs."""
