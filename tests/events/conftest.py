"""Small events of random content."""

import numpy as np
import pytest

from mlpf_jax.events import store, writing


@pytest.fixture(scope="session")
def origin():
    """A provenance."""
    return {"kind": "simulated", "process": "ttbar", "seed": 1, "bank_sha256": "0" * 64}


@pytest.fixture(scope="session")
def make_event():
    """Returns an event with a number of elements and random content from a seed."""

    def make(num_elements, seed):
        rng = np.random.default_rng([num_elements, seed])
        return store.Event(
            **{
                name: rng.normal(size=(num_elements, width)).astype(np.float32)
                for name, width in store.NUM_FEATURES.items()
            }
        )

    return make


@pytest.fixture
def events(make_event):
    """Five events of different lengths, one of them empty."""
    return [make_event(length, seed) for seed, length in enumerate([3, 0, 7, 1, 5])]


@pytest.fixture
def folder(tmp_path, events, origin):
    """A store of the five events in shards of two."""
    writing.write_store(tmp_path / "set", events, origin, shard_events=2)
    return tmp_path / "set"
