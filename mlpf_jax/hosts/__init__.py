"""One run on several processes: found, joined, watched and compared."""
