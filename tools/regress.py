"""Tests whether a change made the benchmark slower."""

from mlpf_jax.commands.regress import run_app

if __name__ == "__main__":
    run_app()
