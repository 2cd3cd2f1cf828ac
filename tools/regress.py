"""Says whether a change made the benchmark slower, by runs of both sides in turns."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mlpf_jax.commands.regress", run_name="__main__", alter_sys=True)
