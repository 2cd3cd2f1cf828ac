"""FLOPs and fingerprint of the graph of one event."""

import jax
from jax._src import xla_bridge

from mlpf_jax.training import cost, state
from tests import tiny


def test_operations_are_counted_where_jax_runs_on_a_plug_in(monkeypatch):
    """As on GPUs and TPUs, whose clients count none: JAX then returns None."""
    run = tiny.run_config()
    on_cpu = cost.graph_cost(run, state.shapes(run))

    def is_plug_in(backend=None):
        return jax.config.jax_default_device is None

    monkeypatch.setattr(xla_bridge, "using_pjrt_c_api", is_plug_in)
    assert jax.jit(abs).lower(1.0).cost_analysis() is None

    assert cost.graph_cost(run, state.shapes(run)) == on_cpu
    assert on_cpu.train_flops > on_cpu.infer_flops > 0
