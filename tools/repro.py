"""Shows whether runs compute the same bits, and if not, where and by how much they part."""

from mlpf_jax.commands.repro import run_app

if __name__ == "__main__":
    run_app()
