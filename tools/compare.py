"""Holds results against a baseline; shows the talk's tables, or how a number went with time."""

from mlpf_jax.commands.compare import run_app

if __name__ == "__main__":
    run_app()
