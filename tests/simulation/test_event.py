"""Events have fixed bytes and the public schema, and depend only on their arguments."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from mlpf_jax.simulation import event

HOW_TO_CHANGE = (
    "The bytes of simulated events have changed, so no result can be compared with an older one. "
    "If that is meant, say so in the changelog, raise the workload version, and put the new digest "
    "here; otherwise an operation of the simulation was reordered or a random stream moved."
)


def digest(events):
    """Returns the sha256 of events laid end to end, as the event store computes it."""
    arrays = {
        "offsets": np.cumsum([0] + [len(e.elements) for e in events], dtype=np.int64),
        "X": np.concatenate([e.elements for e in events]),
        "ygen": np.concatenate([e.targets for e in events]),
        "ycand": np.concatenate([e.candidates for e in events]),
    }
    state = hashlib.sha256()
    for name, array in arrays.items():
        state.update(f"{name}:{array.dtype.str}:{array.shape}".encode() + array.tobytes())
    return state.hexdigest()


@pytest.mark.parametrize(
    ("process", "num_events", "expected"),
    [
        ("ttbar", 32, "6c414364d0b88e5a09a5a274c3d2b60c674c9bc6df03462232ad5e8829ae397f"),
        ("qcd", 8, "4db8cf42bcb60b4994c74bbf4064a1cff07c33c10e2867ad0b1c88fb0ae005b0"),
    ],
)
def test_events_have_the_agreed_bytes(shipped_bank, process, num_events, expected):
    events = [event.simulate(shipped_bank, process, 1, i) for i in range(num_events)]
    assert digest(events) == expected, HOW_TO_CHANGE


@pytest.mark.slow
def test_the_training_set_has_the_agreed_bytes(shipped_bank):
    events = [event.simulate(shipped_bank, "ttbar", 1, i) for i in range(1100)]
    expected = "0fdd155cef47903454de26b86bb1895afc95198582ee671bd88179b25f2641d3"
    assert digest(events) == expected, HOW_TO_CHANGE


@pytest.fixture(scope="module")
def events(shipped_bank):
    return [event.simulate(shipped_bank, p, 7, i) for p in ("ttbar", "qcd") for i in range(3)]


def test_an_event_does_not_depend_on_what_ran_before(shipped_bank, events):
    backwards = [event.simulate(shipped_bank, p, 7, i) for p in ("qcd", "ttbar") for i in (2, 1, 0)]
    assert digest(backwards[::-1]) == digest(events)


def test_simulating_leaves_the_bank_as_it_was(shipped_bank):
    def state():
        columns = [
            getattr(shipped_bank.events(p).particles, c)
            for p in ("minbias", "ttbar")
            for c in ("px", "py", "pz", "energy", "x", "z")
        ]
        return hashlib.sha256(b"".join(c.tobytes() for c in columns)).hexdigest()

    before = state()
    event.simulate(shipped_bank, "ttbar", 1, 5)
    assert state() == before


def test_other_names_give_other_events(shipped_bank, events):
    others = [
        event.simulate(shipped_bank, "ttbar", 8, 0),
        event.simulate(shipped_bank, "ttbar", 7, 3),
        event.simulate(shipped_bank, "qcd", 7, 0),
    ]
    assert len({digest([e]) for e in [events[0], *others]}) == 4


def test_tracks_come_first_and_then_towers(events):
    for e in events:
        element_type = e.elements[:, 0]
        num_tracks = int((element_type == event.TRACK_TYPE).sum())
        assert 0 < num_tracks < len(element_type)
        assert (element_type[:num_tracks] == event.TRACK_TYPE).all()
        assert (element_type[num_tracks:] == event.TOWER_TYPE).all()


def test_rows_are_shuffled_within_tracks_and_towers(events):
    for e in events:
        is_track = e.elements[:, 0] == event.TRACK_TYPE
        muons = np.flatnonzero(e.elements[is_track, 10])
        assert not len(muons) or muons[0] < is_track.sum() - len(muons)


def test_events_are_finite_and_of_known_classes(events):
    for e in events:
        for rows in (e.elements, e.targets, e.candidates):
            assert rows.dtype == np.float32
            assert np.isfinite(rows).all()
        for rows in (e.targets, e.candidates):
            assert set(np.unique(rows[:, 0]).tolist()) <= {0, 1, 2, 3, 4, 5}
            assert not rows[rows[:, 0] == 0].any()


def test_angles_are_on_the_unit_circle(events):
    for e in events:
        is_track = e.elements[:, 0] == event.TRACK_TYPE
        for rows, sine in ((e.elements, 3), (e.elements[is_track], 7), (e.targets, 4)):
            squared = rows[:, sine] ** 2 + rows[:, sine + 1] ** 2
            np.testing.assert_allclose(squared[squared > 0], 1, atol=1e-6)


def test_columns_of_tracks_fit_together(events):
    for e in events:
        track = e.elements[e.elements[:, 0] == event.TRACK_TYPE].astype(np.float64)
        np.testing.assert_allclose(track[:, 5], track[:, 1] * np.cosh(track[:, 2]), rtol=1e-5)
        assert set(track[:, 9].tolist()) == {-1, 1}
        assert set((track[:, 10] + 2 * track[:, 11]).tolist()) <= {0, 1, 2}


def test_columns_of_towers_fit_together(events):
    for e in events:
        tower = e.elements[e.elements[:, 0] == event.TOWER_TYPE].astype(np.float64)
        np.testing.assert_allclose(tower[:, 5], tower[:, 1] * np.cosh(tower[:, 2]), rtol=1e-5)
        np.testing.assert_array_equal(tower[:, 5], tower[:, 6] + tower[:, 7])
        assert not (tower[:, 6] * tower[:, 7]).any()
        assert not tower[:, 8:].any()


def test_events_are_as_large_as_the_public_ones(events):
    sizes = [len(e.elements) for e in events]
    assert 3500 < min(sizes) <= max(sizes) < 7000


@pytest.mark.parametrize(
    ("process", "seed", "index", "reason"),
    [
        ("higgs", 1, 0, "no process 'higgs'"),
        ("ttbar", -1, 0, "negative"),
        ("ttbar", 1, -1, "negative"),
    ],
)
def test_impossible_events_are_refused(shipped_bank, process, seed, index, reason):
    with pytest.raises(ValueError, match=reason):
        event.simulate(shipped_bank, process, seed, index)


def test_the_simulation_needs_no_jax():
    """Worker processes import it: they must start fast and touch no accelerator."""
    code = "import sys; from mlpf_jax.simulation import event; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
