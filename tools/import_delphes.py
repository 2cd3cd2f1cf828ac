"""Imports the public Delphes files as sets of events."""

from mlpf_jax.commands.import_delphes import run_app

if __name__ == "__main__":
    run_app()
