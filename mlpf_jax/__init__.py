"""MLPF in JAX/Flax: a benchmark that trains and runs a particle-physics network."""
