"""The kept collisions are representative of all."""

import numpy as np
import pytest

from mlpf_jax.simulation import particles, thinning


@pytest.fixture(scope="module")
def activities():
    """Skewed sums of 4000 collisions with a small correlation, as in real ones."""
    rng = np.random.default_rng(0)
    scale = rng.gamma(1.0, 1.0, (4000, 1))
    return scale * rng.gamma(2.0, 1.0, (4000, 11))


def pulls(activities, kept):
    error = activities.std(axis=0) / len(kept) ** 0.5
    return np.abs(activities[kept].mean(axis=0) - activities.mean(axis=0)) / error


def test_the_kept_collisions_have_the_means_of_all(activities):
    kept = thinning.choose(activities, 200)
    assert pulls(activities, kept).max() < 1.2
    assert pulls(activities, kept).max() < 0.5 * pulls(activities, np.arange(200)).max()


def test_collisions_are_kept_once_and_in_order(activities):
    kept = thinning.choose(activities, 333)
    assert len(kept) == 333
    assert (np.diff(kept) > 0).all()
    assert kept.max() < 4000


def test_all_are_kept_if_all_are_wanted(activities):
    assert thinning.choose(activities, 4000).tolist() == list(range(4000))


def test_a_sum_that_is_always_zero_does_no_harm(activities):
    activities = activities.copy()
    activities[:, 7] = 0
    assert len(thinning.choose(activities, 50)) == 50


def test_activity_counts_what_it_says(make_particles):
    produced = make_particles(
        [211, 211, 22, 11, 13, 130, 22],
        [0.5, 5.0, 3.0, 0.4, 1.0, 2.0, 7.0],
        [0, 2, 1, 0, 0, 0, 4],
        0,
    )
    events = particles.TruthEvents(particles=produced, offsets=np.array([0, 6, 7]))
    first, second = thinning.activity(events)
    assert first[:8].tolist() == [4, 1, 1, 1, 1, 1, 1, 1]
    assert first[8] == 0
    assert first[9] == 1
    assert first[10] == pytest.approx(11.9)
    assert second[:8].tolist() == [0] * 8
    assert second[8] == pytest.approx(7 * np.cosh(4))
