"""Proves the network against golden data: the same as the console script mlpf-jax-verify."""

from mlpf_jax import verify

if __name__ == "__main__":
    verify.run_app()
