"""Compares results with a baseline; shows the talk's tables, or a metric's history."""

from mlpf_jax.commands.compare import run_app

if __name__ == "__main__":
    run_app()
