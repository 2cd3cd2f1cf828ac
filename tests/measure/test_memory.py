"""Bytes of compiled steps and of devices."""

import jax
import jax.numpy as jnp

from mlpf_jax.measure import memory


def test_a_step_needs_its_arguments_outputs_and_temporaries():
    x = jnp.ones((256, 256))
    compiled = jax.jit(lambda x: x @ x + 1, donate_argnums=0).lower(x).compile()

    needed = memory.of_step(compiled)

    assert needed.argument_bytes == needed.output_bytes == needed.alias_bytes == x.nbytes
    assert needed.total_bytes == x.nbytes + needed.temporary_bytes


def test_cpu_devices_share_the_free_memory():
    device = jax.local_devices()[0]
    alone, shared = memory.limit_bytes(device, 1), memory.limit_bytes(device, 8)
    if alone is None:  # no /proc here
        assert shared is None
    else:
        assert 0 < shared < alone
    assert memory.peak_bytes(device) is None
