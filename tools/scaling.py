"""Measures how the benchmark scales: over devices, batch sizes and training events."""

from mlpf_jax.commands.scaling import run_app

if __name__ == "__main__":
    run_app()
