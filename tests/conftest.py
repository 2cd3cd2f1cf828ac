"""Makes JAX strict before any test imports it, and gives a CPU eight devices."""

import contextlib
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import pytest
from absl import logging
from absl.testing import flagsaver

ROOT = Path(__file__).parents[1]
logging.set_verbosity(logging.WARNING)  # defines its flags before a program of ours does

# A shell ignores Ctrl-C for what it starts in the background, and children inherit that: the
# programs that are interrupted in tests would never end.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_num_cpu_devices", 8)
# Nearly all of the time goes into LLVM's work on programs that run once or twice. What a user's
# run compiles is tested as it is: in processes of their own (test_main) and on the golden data.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True)
def _no_user_cache(tmp_path_factory, monkeypatch):
    """Isolates tests from the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(autouse=True)
def _default_interrupts():
    """Undoes what a program that a test runs in this process sets for Ctrl-C."""
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield
    sys.unraisablehook = hook
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


@pytest.fixture
def make_disk(tmp_path):
    """Returns a function that mounts a disk of a given size and returns its folder; needs root."""
    with contextlib.ExitStack() as stack:

        def make(size):
            folder = tmp_path / "disk"
            folder.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
            try:
                done = subprocess.run(mount, capture_output=True, check=False)
            except OSError as error:
                pytest.skip(f"mount: {error}")
            if done.returncode:
                pytest.skip(done.stderr.decode().strip())
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
            return folder

        yield make


@pytest.fixture
def full_disk(make_disk):
    """The folder of a disk of 4 kB."""
    return make_disk("4k")


@pytest.fixture
def run_program(monkeypatch, capsys):
    """Returns a function that runs a module as `python -m` does, but in this process.

    An interpreter that imports SciPy takes seconds to start.
    """

    def run(module, *words, folder=ROOT):
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        monkeypatch.chdir(folder)
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        return subprocess.CompletedProcess(sys.argv, ended.value.code or 0, *capsys.readouterr())

    return run
