"""FLOPs and fingerprint of the graph of one event, independent of device and batch."""

import dataclasses
import functools
import hashlib

import jax

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.model import pfnet
from mlpf_jax.training import state, step


@dataclasses.dataclass(frozen=True)
class GraphCost:
    """FLOPs per fully padded event, as counted by XLA before optimisation.

    With tight padding, FLOPs are proportional to the number of places, except for a few.

    They count our algebra (doubled inputs multiplied once), which has fewer operations than the
    published graph, so the share of the peak is not overestimated.
    """

    train_flops: float
    infer_flops: float
    graph_sha256: str  # digest of the StableHLO of one event's loss and gradient


def graph_cost(config: config_lib.RunConfig, shapes: state.TrainState) -> GraphCost:
    """Lowers the graph for one event, without compiling or running it.

    `shapes` is the state of one device. The graph is lowered for a CPU (TF32 for CUDA) and without
    the fused kernel, because XLA cannot count its operations. The fingerprint is thus the same on
    every machine with the same version of JAX. The CPU's client counts them: those of plug-ins, as
    for GPUs and TPUs, do not.
    """
    model = pfnet.PFNet(dataclasses.replace(config.model, pair_kernel="xla"))
    batch = _one_event(config)
    forward = functools.partial(step.batch_sums, model)
    platform = "cuda" if config.model.precision == "tf32" else "cpu"

    def lower(function):
        traced = jax.jit(function).trace(shapes.params, shapes.rotations, batch)
        return traced.lower(lowering_platforms=(platform,))

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        train = lower(jax.value_and_grad(forward, has_aux=True))
        return GraphCost(
            train_flops=_flops(train),
            infer_flops=_flops(lower(forward)),
            graph_sha256=hashlib.sha256(train.as_text().encode()).hexdigest(),
        )


def _one_event(config):
    """A batch of one event with all its places, because empty places depend on the event."""
    if config.data.padding == "full":
        return batch_lib.abstract_batch(1, num_elements=config.data.num_elements)
    shape = batch_lib.BatchShape(1, 1, config.data.num_elements)
    packing = ragged.Packing(shape, config.model.bin_size)
    return jax.tree.map(lambda x: x[0], packing.empty(packing.full_capacity))


def _flops(lowered: jax.stages.Lowered) -> float:
    analysis = lowered.cost_analysis()
    if analysis is None:
        raise RuntimeError("this version of JAX does not count the operations of a program.")
    return float(analysis["flops"])
