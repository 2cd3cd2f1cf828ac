"""Proves on the machine at hand that the network computes what the original graph computes."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.verify", run_name="__main__", alter_sys=True)
