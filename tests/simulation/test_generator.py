"""Pythia makes each collision from its seed alone. Needs the extra `generate`."""

import itertools
import sys

import numpy as np
import pytest

from mlpf_jax.simulation import generator

SEEDS = (11, 12, 13)


def test_a_missing_pythia_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(ValueError, match="pip install 'mlpf_jax\\[generate\\]'"):
        generator.version()


def test_no_two_collisions_share_a_seed():
    ranges = sorted(
        (generator.first_seed(p, s), generator.first_seed(p, s) + generator.MAX_EVENTS)
        for p in generator.PROCESSES
        for s in (0, 1, generator.MAX_SEED)
    )
    assert ranges[0][0] == 1
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))
    assert ranges[-1][1] - 1 <= 900_000_000, "Pythia takes no larger seed"


@pytest.fixture(scope="module")
def qcd():
    pytest.importorskip("pythia8mc")
    return generator.Generator("qcd")


def event(events, index):
    return events.particles.take(np.arange(*events.offsets[index : index + 2]))


def test_a_collision_does_not_depend_on_what_was_generated_before(qcd):
    forwards, backwards = qcd.generate(SEEDS), qcd.generate(SEEDS[::-1])
    for i in range(3):
        one, other = event(forwards, i), event(backwards, 2 - i)
        for name in ("pdg_id", "px", "energy", "z"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_energy_momentum_and_charge_are_conserved(qcd):
    events = qcd.generate(SEEDS)
    for i in range(events.num_events):
        p = event(events, i)
        assert p.energy.sum() == pytest.approx(14_000, rel=1e-6)
        assert [p.px.sum(), p.py.sum(), p.pz.sum()] == pytest.approx([0, 0, 0], abs=1e-2)
        assert p.charge.astype(int).sum() == 2


def test_particles_are_stable_and_long_lived_ones_stay(qcd):
    codes = set(np.abs(qcd.generate(range(20, 40)).particles.pdg_id).tolist())
    assert codes >= {22, 211, 321, 2212, 2112, 130, 310, 3122}
    assert not codes & {111, 113, 1, 2, 21}


def test_the_generator_names_itself():
    pytest.importorskip("pythia8mc")
    assert generator.version().startswith("Pythia 8.")


def test_the_settings_have_a_digest_of_their_own(monkeypatch):
    before = generator.settings_sha256()
    monkeypatch.setitem(generator.PROCESS_SETTINGS, "qcd", ("PhaseSpace:pTHatMin = 30",))
    assert generator.settings_sha256() != before
