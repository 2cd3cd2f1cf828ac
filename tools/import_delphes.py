"""Imports the public Delphes files as sets of events."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.import_delphes", run_name="__main__", alter_sys=True)
