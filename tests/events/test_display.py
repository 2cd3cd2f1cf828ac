"""The picture of an event shows its tracks where they fly. Needs the extra `plots`."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from mlpf_jax.events import display, store
from mlpf_jax.simulation import bank, event


@pytest.fixture(scope="module")
def simulated():
    made = event.simulate(bank.load_bank(), "ttbar", 1, 0)
    return store.Event(elements=made.elements, targets=made.targets, candidates=made.candidates)


def track(pt, eta, phi, charge):
    row = np.zeros(12)
    row[[0, 1, 2, 3, 4, 9]] = 2, pt, eta, np.sin(phi), np.cos(phi), charge
    return row


def test_a_hard_track_is_straight():
    x, y = display.helix(track(1e6, 0.0, 0.7, 1))
    np.testing.assert_allclose(np.arctan2(y[1:], x[1:]), 0.7, atol=1e-5)
    assert np.hypot(x[-1], y[-1]) == pytest.approx(1.29)


def test_a_forward_track_ends_at_the_end_cap():
    x, y = display.helix(track(1e6, 2.0, 0.7, 1))
    assert np.hypot(x[-1], y[-1]) == pytest.approx(3.0 / np.sinh(2.0), rel=1e-4)


def test_positive_tracks_turn_clockwise():
    ends = [display.helix(track(2.0, 0.1, 0.0, charge))[1][-1] for charge in (1, -1)]
    assert ends[0] < 0 < ends[1]


def test_tracks_end_where_the_simulation_has_them(simulated):
    """Within what the measured pT and direction are wrong."""
    rows = simulated.elements.astype(np.float64)
    tracks = rows[(rows[:, 0] == 2) & (rows[:, 1] > 2) & (np.abs(rows[:, 2]) < 1)]
    ends = np.array([[c[-1] for c in display.helix(t)] for t in tracks])
    phi = np.arctan2(ends[:, 1], ends[:, 0])
    difference = np.angle(np.exp(1j * (phi - np.arctan2(tracks[:, 7], tracks[:, 8]))))
    assert len(tracks) > 20
    assert np.median(np.abs(difference)) < 0.03


def test_the_picture_has_four_parts_and_is_a_png(simulated):
    picture = display.draw(simulated, "an event")
    titles = [panel.get_title(loc="left") for panel in picture.axes]
    assert [title.split()[0].rstrip(":") for title in titles] == [
        "along",
        "elements",
        "targets",
        "candidates",
    ]
    assert display.png(picture).startswith(b"\x89PNG")
