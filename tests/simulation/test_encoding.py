"""Truth survives its encoding, whole or in parts."""

import numpy as np
import pytest

from mlpf_jax.simulation import encoding, particles, species


def test_encoding_loses_no_more_than_the_steps(truth):
    read = encoding.decode(encoding.encode(truth))
    produced = truth.particles

    np.testing.assert_array_equal(read.offsets, truth.offsets)
    np.testing.assert_array_equal(read.particles.pdg_id, produced.pdg_id)
    np.testing.assert_array_equal(read.particles.charge, produced.charge)
    np.testing.assert_allclose(read.particles.pt, produced.pt, rtol=2e-4)
    np.testing.assert_allclose(read.particles.eta, produced.eta, atol=1e-4)
    np.testing.assert_allclose(read.particles.phi, produced.phi, atol=5e-5)
    np.testing.assert_array_equal(read.particles.x, produced.x)
    assert not read.particles.z.any(), "vertices are relative to the collision's first particle"


def test_decoded_truth_is_encoded_to_itself(truth):
    once = encoding.encode(truth)
    twice = encoding.encode(encoding.decode(once))
    for name, column in once.columns.items():
        np.testing.assert_array_equal(twice.columns[name], column)


def test_invisible_particles_are_not_encoded(make_particles):
    produced = make_particles([211, 211, 211, 22], [1.0, 1.0, 1e-5, 2.0], [0.1, 5.4, 0, 1], 0.0)
    with_neutrino = particles.concatenate(produced, produced.take(np.array([0])))
    with_neutrino.pdg_id[-1] = 12
    events = particles.TruthEvents(particles=with_neutrino, offsets=np.array([0, 2, 5]))
    encoded = encoding.encode(events)
    assert encoded.n.tolist() == [1, 1]
    assert species.PDG_ID[encoded.code].tolist() == [211, 22]


def test_parts_are_put_together_as_they_were(truth):
    whole = encoding.encode(truth)
    parts = [whole.take(np.array([0])), whole.take(np.array([1, 2]))]
    assert [part.num_events for part in parts] == [1, 2]
    assert parts[1].vi.tolist() == [2], "the seventh particle is the third of the second collision"
    for name, column in encoding.concatenate(parts).columns.items():
        np.testing.assert_array_equal(column, whole.columns[name])
        assert column.dtype == whole.columns[name].dtype


def test_taking_no_events_is_allowed(truth):
    nothing = encoding.encode(truth).take(np.zeros(0, np.int64))
    assert nothing.num_events == len(nothing.code) == len(nothing.v) == 0


def test_columns_that_do_not_fit_are_refused(truth):
    columns = encoding.encode(truth).columns
    with pytest.raises(ValueError, match="differ in length"):
        encoding.from_columns(columns | {"n": columns["n"][:2]})
