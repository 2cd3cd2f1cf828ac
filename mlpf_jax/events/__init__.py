"""Input of the network: events are simulated or imported, stored on disk and batched."""
