"""What is set before JAX is imported, in processes of their own: JAX is imported here already."""

import json
import os
import subprocess
import sys

import pytest

from mlpf_jax import runtime

_REPORT = """
import json, os, sys
from mlpf_jax import runtime
settings = runtime.prepare({num_devices})
assert "jax" not in sys.modules
print(json.dumps([settings.xla_flags, settings.allocator, os.environ["XLA_FLAGS"]]))
"""
_DISPATCH = """
import json
from mlpf_jax import runtime
settings = runtime.prepare({num_devices})
runtime.set_up_jax({num_devices})
import jax
import jax.numpy as jnp
product = jax.jit(lambda x: x @ x)(jnp.ones((2000, 2000)))
print(json.dumps([settings.cpu_dispatch, product.is_ready(), jax.local_device_count()]))
"""


_NUMBERS = """
import json
from mlpf_jax import runtime
settings = runtime.prepare(1)
runtime.set_up_jax(1)
import jax
numbers = jax.random.normal(jax.random.key(0), (4,))
print(json.dumps([settings.pinned_variables, str(numbers.dtype), numbers.tolist()]))
"""


def start(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(num_devices, code=_REPORT, **environ):
    done = start(code.format(num_devices=num_devices), **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_collectives_of_slow_devices_are_given_time():
    flags, _, in_environment = prepare(8)
    assert "--xla_cpu_collective_call_terminate_timeout_seconds=3600" in flags.split()
    assert "--xla_cpu_collective_call_warn_stuck_timeout_seconds=3600" in flags.split()
    assert flags == in_environment


def test_vectors_are_as_wide_as_a_user_says():
    assert "--xla_cpu_prefer_vector_width=512" in prepare(1)[0].split()
    given = "--xla_cpu_prefer_vector_width=256"
    assert prepare(1, XLA_FLAGS=given)[0].count("prefer_vector_width") == 1


def test_flags_of_the_user_stay():
    given = "--xla_cpu_collective_call_terminate_timeout_seconds=7 --xla_cpu_enable_fast_math=false"
    flags, *_ = prepare(8, XLA_FLAGS=given)
    assert flags.startswith(given)
    assert flags.count("terminate_timeout") == 1


@pytest.mark.parametrize(("version", "is_set"), [("0.10.2", True), ("0.12.0", False), ("", False)])
def test_an_experimental_flag_is_for_versions_that_know_it(monkeypatch, version, is_set):
    monkeypatch.setattr(runtime, "_jaxlib_version", lambda: version)
    monkeypatch.delitem(sys.modules, "jax")

    flags = runtime.prepare(2, {}).xla_flags.split()

    assert ("--xla_cpu_experimental_ynn_fusion_type=" in flags) == is_set


def test_flags_in_a_file_are_joined_with_ours(tmp_path):
    path = tmp_path / "flags"
    path.write_text("--xla_cpu_prefer_vector_width=256\n--xla_cpu_enable_fast_math=false\n")

    flags, _, in_environment = prepare(1, XLA_FLAGS=str(path))

    assert flags.startswith("--xla_cpu_prefer_vector_width=256 --xla_cpu_enable_fast_math=false")
    assert "--xla_gpu_deterministic_ops=true" in in_environment.split()


def test_a_variable_that_forbids_a_meaningful_run_is_refused(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")

    with pytest.raises(ValueError, match=r"^JAX_DISABLE_JIT=1: nothing would be compiled"):
        runtime.prepare(1, {"JAX_DISABLE_JIT": "1"})


def test_variables_that_can_change_the_speed_are_recorded(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")

    monkeypatch.setattr(runtime.xla_flags_lib, "check", lambda given, environ: None)
    environ = {"OMP_NUM_THREADS": "1", "HOME": "x", "XLA_FLAGS": "--xla_dump_to=/srv/x --xla_a=1"}

    settings = runtime.prepare(2, environ)

    assert settings.variables == {
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_dump_to=PATH --xla_a=1",
    }
    assert settings.pinned_variables == ()


def test_numbers_are_the_same_whatever_the_environment_says():
    changed = {
        "JAX_ENABLE_X64": "1",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_RANDOM_SEED_OFFSET": "7",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
    }

    pinned, dtype, numbers = prepare(1, _NUMBERS, **changed)

    assert pinned == sorted(changed)
    assert dtype == "float32"
    assert numbers == prepare(1, _NUMBERS)[2]


def test_a_platform_that_is_not_there_is_named_with_the_way_out():
    line = runtime.no_device("", {"JAX_PLATFORMS": "cuda"})

    assert line.startswith("JAX_PLATFORMS=cuda: ")
    assert "make venv BACKEND" in line
    assert runtime.no_device("none", {}) == "JAX finds no device: none"


def test_an_allocator_that_replaces_the_one_of_the_system_is_told(monkeypatch):
    monkeypatch.setattr(runtime.process, "malloc", lambda: "libjemalloc.so.2")
    monkeypatch.delitem(sys.modules, "jax")

    assert runtime.prepare(1, {}).allocator == "libjemalloc.so.2"


def test_many_devices_keep_the_default_allocator():
    assert prepare(8)[1] == "default"
    assert prepare(1)[1] in ("one arena, kept", "default")


def test_a_step_of_one_device_is_computed_where_it_is_called():
    assert prepare(1, _DISPATCH, JAX_PLATFORMS="cpu") == ["inline", True, 1]


def test_steps_of_several_devices_are_dispatched():
    dispatch, _, num_devices = prepare(2, _DISPATCH, JAX_PLATFORMS="cpu")
    assert (dispatch, num_devices) == ("asynchronous", 2)


def test_too_late_is_an_error():
    with pytest.raises(RuntimeError, match="before the first import of jax"):
        runtime.prepare(1, {})


@pytest.mark.slow
def test_devices_that_reach_a_collective_late_do_not_abort():
    """Eight devices, three events each: without the time-outs XLA would end the process."""
    code = """
from mlpf_jax import runtime
runtime.prepare(8)
import jax
jax.config.update("jax_num_cpu_devices", 8)
import functools
import numpy as np
from mlpf_jax import config
from mlpf_jax.events import batch
from mlpf_jax.training import parallel, state, step
run = config.RunConfig(
    num_devices=8,
    data=config.DataConfig(num_elements=6400),
    train=config.TrainConfig(batch_size=3, events_at_once=1),
)
spread = parallel.Devices(jax.local_devices(), "pmap")
update = spread.spread_train_step(functools.partial(step.train_step, run))
current = spread.replicate(state.create(run, jax.random.key(0)))
rng = np.random.default_rng(0)
elements = rng.normal(size=(8, 3, 6400, 12)).astype(np.float32)
elements[..., 0] = 2
targets = np.zeros((8, 3, 6400, 7), np.float32)
data = spread.split(batch.EventBatch(elements, targets, np.ones((8, 3), np.float32)))
current, sums = update(current, data, spread.replicate(jax.random.key(0)))
assert np.isfinite(float(sums.mean_losses()["total"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("num_devices", "free", "message"),
    [
        (257, None, "^--num_devices=257: a CPU can emulate at most 256.$"),
        (8, 25, "^--num_devices=8: needs 26 threads, but `ulimit -u` or the"),
        (2, -3, "allows only 0:"),
    ],
)
def test_devices_without_threads_are_refused(monkeypatch, num_devices, free, message):
    """XLA would wait for ever, or abort."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(runtime.slot, "free_threads", lambda: free)

    with pytest.raises(ValueError, match=message):
        runtime.prepare(num_devices, {})


@pytest.mark.parametrize(("num_devices", "free"), [(256, None), (256, 522), (1, 4)])
def test_devices_with_threads_are_not_refused(num_devices, free):
    runtime._check_threads(num_devices, free)
