"""The benchmark as a side: a whole run with its report, which then serves windows of its steps.

    python -P -m mlpf_jax.sides.member 0.15 --flagfile=flags/regression.cfg

The first argument is a share of extra work in every window, a test of the comparison.
"""

import functools
import runpy
import sys

from mlpf_jax.measure import window
from mlpf_jax.sides import extra_work, protocol


def serve(pipes: protocol.Pipes, share: float, run: window.Windows) -> None:
    """Serves the windows of a run that is set up, slowed by the share."""
    phases = run.phases
    if share:
        work = extra_work.Work()
        phases = {name: extra_work.slowed(phase, share, work.do) for name, phase in phases.items()}
    try:
        protocol.serve(
            pipes,
            phases,
            identity=run.programs,
            memory_bytes=run.memory_bytes,
            events_per_step=run.events_per_step,
        )
    except ArithmeticError as error:
        sys.exit(f"error: {error}")


def main() -> None:
    """Runs the benchmark with the arguments after the first, and serves."""
    window.server = functools.partial(serve, protocol.take_pipes(), float(sys.argv[1]))
    sys.argv = ["mlpf_jax.main", *sys.argv[2:]]
    runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
