"""Says whether a change made the benchmark slower, by runs of both sides in turns."""

from mlpf_jax.commands.regress import run_app

if __name__ == "__main__":
    run_app()
