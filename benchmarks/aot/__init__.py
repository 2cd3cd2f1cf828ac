"""What compiling ahead of time needs and tells: targets without devices, compiled programs."""
