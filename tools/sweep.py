"""Measures a grid of settings and shows which points are best."""

from mlpf_jax.commands.sweep import run_app

if __name__ == "__main__":
    run_app()
