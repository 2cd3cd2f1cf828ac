"""Bytes of compiled steps and of devices."""

import jax
import jax.numpy as jnp
import pytest

from mlpf_jax.measure import memory, records, slot


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


@pytest.mark.parametrize(
    ("platform", "num_devices", "total", "swap", "fits"),
    [
        ("cpu", 1, 10, 0, True),
        ("cpu", 1, 9, 0, False),
        ("cpu", 1, 9, 1, True),
        ("cpu", 2, 19, 0, False),
        ("cpu", 1, None, 0, True),  # not known: no refusal
        ("gpu", 8, 1, 0, True),
    ],
)
def test_a_step_that_can_never_fit_is_refused(
    monkeypatch, platform, num_devices, total, swap, fits
):
    gib = 2**30
    step = records.StepMemory(
        argument_bytes=4 * gib, output_bytes=4 * gib, alias_bytes=3 * gib, temporary_bytes=5 * gib
    )
    there = slot.Slot(
        allowed_cores=(0,),
        cpu_quota=None,
        control_groups=None,
        memory_bytes=total and total * gib,
    )
    monkeypatch.setattr(slot, "read", lambda: there)
    monkeypatch.setattr(slot, "free_swap_bytes", lambda: swap * gib)

    if fits:
        memory.require_room(step, platform, num_devices)
    else:
        with pytest.raises(MemoryError, match=rf"a step needs {10 * num_devices}.0 GiB, and there"):
            memory.require_room(step, platform, num_devices)


def test_a_plug_in_without_counters_of_memory_is_no_error():
    class Device:
        platform = "gpu"

        def memory_stats(self):
            raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: GetMemoryStats")

    device = Device()

    assert memory.limit_bytes(device, 1) is memory.peak_bytes(device) is None
