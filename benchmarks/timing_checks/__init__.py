"""What is known about the timing itself."""
