"""Makes a folder of simulated events, or goes on with one that was interrupted."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.make_dataset", run_name="__main__", alter_sys=True)
