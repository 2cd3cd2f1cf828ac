"""The merged arrays contain every weight of the reference once, for all sizes."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers import layout
from benchmarks.peers import workload as workload_lib
from mlpf_jax import config as config_lib
from mlpf_jax.verify import golden

CONFIGS = st.builds(
    config_lib.ModelConfig,
    num_id_layers=st.integers(1, 4),
    num_energy_layers=st.integers(1, 4),
    embedding_dim=st.integers(1, 6),
    embedding_hidden_dim=st.integers(1, 6),
    hidden_dim=st.integers(1, 20),  # 14 is where theta joins the others
    decoder_dim=st.integers(8, 20),
)


def random_weights(config: config_lib.ModelConfig) -> dict[str, np.ndarray]:
    """Weights by the reference's names, in shapes taken from the arrays that they fill."""
    generator = np.random.default_rng(0)
    empty = {name: np.empty(shape) for name, shape in layout._shapes(config).items()}
    weights = {
        name: generator.normal(size=array.shape).astype(np.float32)
        for name, array in layout.split(empty, config).items()
    }
    shape = (config.embedding_dim, config.max_num_bins // 2)
    for layer in layout.layers(config):
        weights[f"{layer}/lsh/codebook"] = generator.normal(size=shape).astype(np.float32)
    return weights


@given(CONFIGS)
def test_splitting_undoes_merging(config):
    weights = random_weights(config)

    arrays = layout.merge(weights, config)

    found = layout.split(arrays, config)
    found |= {
        f"{layer}/lsh/codebook": arrays[f"{layer}/rotations"] for layer in layout.layers(config)
    }
    assert set(found) == set(weights)
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


@given(CONFIGS)
def test_no_place_of_an_array_is_left_out_or_taken_twice(config):
    arrays = layout.merge(random_weights(config), config)
    fixed = sum(array.size for name, array in arrays.items() if name.endswith(layout.ROTATIONS))

    pieces = layout.split(arrays, config).values()

    assert sum(piece.size for piece in pieces) == sum(a.size for a in arrays.values()) - fixed


def test_the_published_sizes_have_the_published_number_of_weights():
    shapes = layout._shapes(config_lib.ModelConfig())

    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 3_285_841


def test_the_names_and_shapes_are_those_of_the_golden_data():
    case = golden.load(golden.SMALL_CASE)

    found = layout.split(layout.merge(case.weights(), case.model_config), case.model_config)

    expected = {k: v.shape for k, v in case.weights().items() if not k.endswith("codebook")}
    assert {name: array.shape for name, array in found.items()} == expected


def test_a_workload_comes_back_from_its_files_bit_by_bit(tmp_path):
    config = config_lib.ModelConfig(hidden_dim=4, decoder_dim=8)
    generator = np.random.default_rng(1)
    written = workload_lib.Workload(
        model=config,
        train=config_lib.TrainConfig(batch_size=3, learning_rate=3e-4),
        weights=random_weights(config),
        elements=generator.normal(size=(2, 3, 8, 12)).astype(np.float32),
        targets=generator.normal(size=(2, 3, 8, 7)).astype(np.float32),
    )

    workload_lib.write(tmp_path, written)
    read = workload_lib.read(tmp_path)

    assert (read.model, read.train) == (written.model, written.train)
    assert np.array_equal(read.elements, written.elements)
    assert np.array_equal(read.targets, written.targets)
    assert all(np.array_equal(read.weights[k], w) for k, w in written.weights.items())
    assert json.loads((tmp_path / "sizes.json").read_text())["model"]["hidden_dim"] == 4
