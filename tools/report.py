"""Writes a report page of results: one HTML file that needs nothing else."""

from mlpf_jax.commands.report import run_app

if __name__ == "__main__":
    run_app()
