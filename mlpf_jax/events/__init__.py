"""Where the network's input comes from: events simulated or imported, kept on disk, batched."""
