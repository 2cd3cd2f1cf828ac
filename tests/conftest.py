"""Makes JAX strict before any test imports it, and gives a CPU eight devices."""

import contextlib
import functools
import importlib.metadata
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import hypothesis
import jax
import pytest
from absl import logging
from absl.testing import flagsaver

ROOT = Path(__file__).parents[1]
logging.set_verbosity(logging.WARNING)  # defines its flags before a program of ours does

# How long an example takes says something of the machine alone.
hypothesis.settings.register_profile(
    "here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("here")

# A shell ignores Ctrl-C for what it starts in the background, and children inherit that: the
# programs that are interrupted in tests would never end.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nearly all of the time goes into the compilation of programs that run once or twice. XLA's older
# emitters and no optimisation need a third of it. What a user's run compiles is tested as it is: in
# processes of their own. XLA aborts at flags that it does not know.
_QUICKLY = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
# The workers of xdist inherit what is set in their parent.
_GIVEN_XLA_FLAGS = os.environ.get("XLA_FLAGS", "").removesuffix(_QUICKLY)
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = _GIVEN_XLA_FLAGS + _QUICKLY
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


# In the long lane, a file that takes minutes must not be the last one, for which all others wait.
_LONG_FILES = {
    "test_accelerator.py",
    "test_container.py",
    "test_faults.py",
    "test_hosts_run.py",
    "test_kills.py",
    "test_main.py",
    "test_scaling.py",
    "test_simulated_gpu.py",
}


def pytest_collection_modifyitems(items):
    """Puts the longest files first."""
    items.sort(key=lambda item: item.path.name not in _LONG_FILES)


@pytest.fixture(scope="session", autouse=True)
def _xla_flags_of_this_process_alone():
    """Leaves XLA_FLAGS as they were given, once XLA has read ours."""
    jax.local_devices()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", _GIVEN_XLA_FLAGS)
        yield


@pytest.fixture(scope="session")
def quick_xla_flags():
    """XLA_FLAGS of a program that is started by a test and whose speed does not matter."""
    if not importlib.metadata.version("jaxlib").startswith("0.10."):
        return _GIVEN_XLA_FLAGS
    no_effort = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    return f"{_GIVEN_XLA_FLAGS} {no_effort}{_QUICKLY}"


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
    now = sys.unraisablehook
    if now is not hook:
        # Threads of Orbax still report after a test what `checkpoint` hides for good, by a partial.
        hides_late = isinstance(now, functools.partial)
        sys.unraisablehook = functools.partial(now.func, hook) if hides_late else hook
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


@pytest.fixture
def signal_in_start(monkeypatch):
    """A function that makes a signal come in the midst of each start; returns what is started."""

    def aim(number):
        started = []

        class Popen(subprocess.Popen):
            def __init__(self, *words, **options):
                super().__init__(*words, **options)
                started.append(self)
                signal.raise_signal(number)

        monkeypatch.setattr(subprocess, "Popen", Popen)
        return started

    return aim
