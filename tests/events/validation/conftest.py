"""A few simulated events of both processes, and their observables."""

import pytest

from mlpf_jax.events import store, writing
from mlpf_jax.events.validation import survey
from mlpf_jax.simulation import bank, event

NUM_EVENTS = 16


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """A folder with a set of ttbar, of QCD, and of other QCD events."""
    folder, truth = tmp_path_factory.mktemp("sets"), bank.load_bank()
    for name, process, seed in (("ttbar", "ttbar", 1), ("qcd", "qcd", 1)):
        events = [event.simulate(truth, process, seed, i) for i in range(NUM_EVENTS)]
        origin = {
            "kind": "simulated",
            "process": process,
            "seed": seed,
            "bank_sha256": truth.sha256,
        }
        writing.write_store(folder / name, events, origin, shard_events=5)
    return folder


@pytest.fixture(scope="session")
def qcd(sets):
    """The observables of the QCD events."""
    return survey.measure(store.open_store(sets / "qcd"))


@pytest.fixture(scope="session")
def ttbar(sets):
    """The observables of the ttbar events."""
    return survey.measure(store.open_store(sets / "ttbar"))
