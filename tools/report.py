"""Writes a report page of results: one HTML file that needs nothing else."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.report", run_name="__main__", alter_sys=True)
