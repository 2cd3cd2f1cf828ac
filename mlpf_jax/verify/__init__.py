"""Golden data of the original graph, and how the network is judged by it."""
