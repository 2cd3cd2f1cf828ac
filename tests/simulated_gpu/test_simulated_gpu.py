"""Runs of the benchmark with JAX's CUDA plug-in, on a driver that simulates GPUs.

They show what the plug-in's client does otherwise than the CPU's. Kernels compute nothing, so the
results mean nothing.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_LOCK = (ROOT / "locks" / "cuda12.txt").read_text()
_PACKAGES = ("jax-cuda12-pjrt", "jax-cuda12-plugin", "nvidia-cuda-nvcc-cu12", "nvidia-ml-py")
_HEADER = "nvidia-cuda-runtime-cu12"
_LIBRARIES = (
    *("libcuda.so.1", "libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9"),
    *("libcufft.so.11", "libcupti.so.12", "libcusparse.so.12", "libnccl.so.2"),
    "libnvidia-ml.so.1",
)
# JAX looks for GPUs only if there is such a file.
_CUSTOMIZE = """
import os
_exists = os.path.exists
os.path.exists = lambda path: path == "/dev/nvidia0" or _exists(path)
"""


def _pin(package: str) -> str:
    """The lines of a package in the lock: its version and its hashes."""
    return re.search(rf"^{package}==.*?[^\\]$", _LOCK, re.MULTILINE | re.DOTALL)[0] + "\n"


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """The environment for a program, with the plug-in and the driver."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here: the driver cannot be built")
    version = importlib.metadata.version("jax")
    if f"jax=={version} " not in _LOCK:
        pytest.skip(f"locks/cuda12.txt has no plug-in for JAX {version}")
    folder = tmp_path_factory.mktemp("simulated_gpu")
    packages, header, libraries = folder / "packages", folder / "header", folder / "libraries"
    for target, names in ((packages, _PACKAGES), (header, (_HEADER,))):
        lock = folder / f"{target.name}.txt"
        lock.write_text("".join(map(_pin, names)))
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes"]
        subprocess.run([*install, "--target", target, "-r", lock], check=True)
    (packages / "sitecustomize.py").write_text(_CUSTOMIZE)
    libraries.mkdir()
    driver, include = libraries / "driver.so", header / "nvidia" / "cuda_runtime" / "include"
    source = Path(__file__).parent / "driver.cpp"
    options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread"]
    subprocess.run(["g++", *options, f"-I{include}", source, "-o", driver], check=True)
    for name in _LIBRARIES:
        (libraries / name).symlink_to(driver)
    given = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return given | {"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(packages)}


def _run(folder, environ, *flags):
    command = [sys.executable, "-m", "mlpf_jax.main", "--preset=smoke", f"--results_dir={folder}"]
    return subprocess.run(
        [*command, *flags], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=1200
    )


def test_a_run_on_a_gpu_waits_for_its_kernels(environ, tmp_path):
    kernel_s = 2e-5
    environ = environ | {"SIMULATED_KERNEL_NS": f"{kernel_s * 1e9:.0f}"}

    ended = _run(tmp_path, environ, "--price_per_hour=3")

    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "mlpf-jax_summary.json").read_text())
    stats = report["report"]["wl-stats"]
    (device,) = report["app"]["devices"]
    assert (device["name"], device["platform"]) == ("NVIDIA H100 80GB HBM3", "gpu")
    assert report["app"]["environment"]["start"]["fallback"] is None
    assert stats["memory"]["peak_device_bytes"] > 0
    assert stats["telemetry"]["sources"]["GPU 0"]["description"]["driver"] == "575.57.08"
    for name, fewest_kernels in (("training", 200), ("inference", 60)):
        phase = stats["phases"][name]
        for seconds, steps in zip(phase["sample_s"], phase["sample_steps"], strict=True):
            assert seconds >= steps * fewest_kernels * kernel_s
        assert phase["flops_per_event"] > 0
        assert phase["share_of_peak"]["peak_flops_per_s"] == 67e12
        assert phase["memory_per_device"]["temporary_bytes"] > 0
        assert phase["energy"]["source"] == "NVML total energy"
        assert phase["energy"]["window_s"] >= 10
        assert phase["cost"] is not None


def test_two_gpus_share_the_events(environ, tmp_path):
    ended = _run(
        tmp_path, environ | {"SIMULATED_GPUS": "2"}, "--num_devices=2", "--noextra_samples"
    )

    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "mlpf-jax_summary.json").read_text())
    assert len(report["app"]["devices"]) == 2
    assert report["report"]["wl-stats"]["batch_size_total"] == 4
    assert report["run_info"]["is_emulated"] is False


def test_an_error_of_the_gpu_ends_the_run_in_one_line(environ, tmp_path):
    ended = _run(tmp_path, environ | {"SIMULATED_FAULT": "9000:error"}, "--quiet")

    assert ended.returncode == 1, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in last
    assert "Traceback" not in ended.stderr
    incomplete = json.loads((tmp_path / "mlpf-jax_incomplete.json").read_text())
    assert incomplete["phase"] == "training"
