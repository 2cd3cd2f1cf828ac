"""Measures how the benchmark scales: over devices, batch sizes and training events."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.scaling", run_name="__main__", alter_sys=True)
