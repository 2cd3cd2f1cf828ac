"""The versions of what computes are recorded, for every kind of device."""

import pathlib
import re
from importlib import metadata

import pytest

from mlpf_jax.measure import environment

LOCKS = pathlib.Path(__file__).parents[2] / "locks"


@pytest.mark.parametrize("lock", ["cuda12", "cuda13"])
def test_the_versions_of_nvidias_libraries_are_recorded(monkeypatch, lock):
    """As the locked environment names them: another cuDNN or ptxas is another program."""
    text = (LOCKS / f"{lock}.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", text, re.MULTILINE))

    def version(name):
        if name not in locked:
            raise metadata.PackageNotFoundError(name)
        return locked[name]

    monkeypatch.setattr(environment.metadata, "version", version)
    found = {name.removesuffix("-cu12").removesuffix("-cu13") for name in environment.versions()}

    libraries = {f"nvidia-{x}" for x in ("cublas", "cuda-nvcc", "cuda-runtime", "cudnn", "nccl")}
    assert libraries | {f"jax-{lock}-plugin", f"jax-{lock}-pjrt"} <= found
