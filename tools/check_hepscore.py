"""Checks summaries of the workload as hep-score reads them, and prints the score that it gives."""

from mlpf_jax.commands.check_hepscore import run_app

if __name__ == "__main__":
    run_app()
