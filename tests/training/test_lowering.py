"""The steps of a small network are lowered for GPUs and TPUs where there are none."""

import dataclasses
import functools
import re

import jax
import pytest

from benchmarks.aot import targets
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.training import parallel, state, step
from tests import tiny


def lowered(platform, precision, pair_kernel):
    """Returns the training step in StableHLO."""
    run = tiny.run_config(batch_size=2)
    model = dataclasses.replace(
        run.model,
        num_id_layers=1,
        num_energy_layers=1,
        precision=precision,
        pair_kernel=pair_kernel,
    )
    run = dataclasses.replace(run, model=model)
    key = jax.eval_shape(lambda: jax.random.key(0))
    abstract = jax.eval_shape(functools.partial(state.create, run), key)
    batch = batch_lib.abstract_batch(1, 2, num_elements=tiny.NUM_ELEMENTS)
    spread = parallel.Devices.described(targets.ABSENT[platform])
    train = spread.spread_train_step(functools.partial(step.train_step, run))
    return train.trace(abstract, batch, key).lower(lowering_platforms=(platform,)).as_text()


# Since JAX 0.11; the kernels for GPUs stand on it until a device shows which back end replaces it.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("platform", "precision", "pair_kernel", "call"),
    [
        ("cuda", "tf32", "triton", "__gpu$xla.gpu.triton"),
        ("tpu", "float32", "mosaic", "tpu_custom_call"),
    ],
)
def test_the_kernel_takes_the_place_of_the_pairs(platform, precision, pair_kernel, call):
    # What computes a matrix of pairs for each bin of two events; values may be padded to its shape.
    pairs = re.compile(r"stablehlo\.(exponential|sqrt|dot_general) .*tensor<8x16x16xf32>$", re.M)

    plain = lowered(platform, precision, "xla")
    fused = lowered(platform, precision, pair_kernel)

    assert set(pairs.findall(plain)) == {"exponential", "sqrt", "dot_general"}
    assert not pairs.search(fused)
    assert call in fused
    assert call not in plain
