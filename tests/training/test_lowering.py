"""The training step of a small network is lowered for GPUs and TPUs where there are none."""

import dataclasses
import functools
import re

import jax

from benchmarks.aot import targets
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.training import parallel, state, step
from tests import tiny


@functools.cache
def lowered(platform, **numerics):
    """Returns the training step in StableHLO."""
    run = tiny.run_config(batch_size=2)
    model = dataclasses.replace(run.model, num_id_layers=1, num_energy_layers=1, **numerics)
    run = dataclasses.replace(run, model=model)
    key = jax.eval_shape(lambda: jax.random.key(0))
    abstract = state.shapes(run)
    batch = batch_lib.abstract_batch(1, 2, num_elements=tiny.NUM_ELEMENTS)
    spread = parallel.Devices.described(targets.ABSENT[platform])
    train = spread.spread_train_step(functools.partial(step.train_step, run))
    return train.trace(abstract, batch, key).lower(lowering_platforms=(platform,)).as_text()


def test_the_kernel_takes_the_place_of_the_pairs():
    # What computes a matrix of pairs for each bin of two events; values may be padded to its shape.
    pairs = re.compile(r"stablehlo\.(exponential|sqrt|dot_general) .*tensor<8x16x16xf32>$", re.M)

    plain = lowered("tpu")
    fused = lowered("tpu", pair_kernel="mosaic")

    assert set(pairs.findall(plain)) == {"exponential", "sqrt", "dot_general"}
    assert not pairs.search(fused)
    assert "tpu_custom_call" in fused
    assert "tpu_custom_call" not in plain


def test_a_gpu_multiplies_in_tf32_but_for_hashes_and_sums():
    products = re.findall(r"stablehlo\.dot_general .*", lowered("cuda", precision="tf32"))

    exact = [line for line in products if "HIGHEST" in line]
    tf32 = [line for line in products if "tf32" in line]
    assert len(tf32) + len(exact) == len(products)
    assert len(tf32) > len(exact) > 0


def test_a_gpu_adds_nothing_by_scattering():
    """With deterministic operations XLA would sort all elements for it."""
    assert "stablehlo.scatter" not in lowered("cuda", precision="tf32")
