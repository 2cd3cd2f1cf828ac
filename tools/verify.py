"""Verifies on this machine that the network computes the same as the original graph."""

from mlpf_jax.commands.verify import run_app

if __name__ == "__main__":
    run_app()
