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


def prepare(num_devices, code=_REPORT, **environ):
    done = subprocess.run(
        [sys.executable, "-c", code.format(num_devices=num_devices)],
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | environ,
        capture_output=True,
        text=True,
        check=True,
    )
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
