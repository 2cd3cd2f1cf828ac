"""Proves on the machine at hand that the network computes what the original graph computes."""

from mlpf_jax.commands.verify import run_app

if __name__ == "__main__":
    run_app()
