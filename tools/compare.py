"""Holds results against a baseline; shows the talk's tables, or how a number went with time."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.compare", run_name="__main__", alter_sys=True)
