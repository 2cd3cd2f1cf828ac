"""Makes a folder of simulated events, or goes on with one that was interrupted."""

from mlpf_jax.commands.make_dataset import run_app

if __name__ == "__main__":
    run_app()
