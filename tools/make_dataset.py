"""Makes a folder of simulated events, or resumes an interrupted one."""

from mlpf_jax.commands.make_dataset import run_app

if __name__ == "__main__":
    run_app()
