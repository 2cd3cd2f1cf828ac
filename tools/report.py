"""Writes a report page of results: one self-contained HTML file."""

from mlpf_jax.commands.report import run_app

if __name__ == "__main__":
    run_app()
