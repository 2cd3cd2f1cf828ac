"""Every point belongs to one cell, with bounds that contain it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpf_jax.simulation import grid

GRIDS = pytest.mark.parametrize("cells", [grid.ECAL, grid.HCAL], ids=["ECAL", "HCAL"])


def array(*values):
    return np.array(values, np.float64)


@GRIDS
@given(eta=st.floats(-4.999, 5), phi=st.floats(-3.14159, 3.14159))
def test_the_bounds_of_a_cell_hold_its_points(cells, eta, phi):
    is_covered, cell = cells.locate(array(eta), array(phi))
    eta_from, eta_to, phi_from, phi_to = cells.bounds(cell)[:, 0]
    assert is_covered[0]
    assert eta_from < eta <= eta_to
    assert phi_from - 1e-12 < phi <= phi_to + 1e-12


@GRIDS
def test_nothing_is_beyond_the_outermost_edges(cells):
    is_covered, _ = cells.locate(array(-5.0, -5.1, 5.0001, 9), array(0, 0, 0, 0))
    assert not is_covered.any()
    assert cells.locate(array(5.0), array(0.0))[0].all()


@GRIDS
def test_upper_edges_belong_to_a_cell_and_lower_ones_do_not(cells):
    edges = cells.eta_edges
    _, of_edge = cells.locate(edges[1:], np.full(len(edges) - 1, 0.5))
    _, of_middle = cells.locate(0.5 * (edges[1:] + edges[:-1]), np.full(len(edges) - 1, 0.5))
    np.testing.assert_array_equal(of_edge, of_middle)


@GRIDS
def test_cells_of_a_ring_are_equal_and_close_the_circle(cells):
    for middle, count in zip(
        0.5 * (cells.eta_edges[1:] + cells.eta_edges[:-1]), cells.cells_around[1:], strict=True
    ):
        phi = (np.arange(count) + 0.5) / count * 2 * np.pi - np.pi
        is_covered, ids = cells.locate(np.full(count, middle), phi)
        _, _, phi_from, phi_to = cells.bounds(ids)
        assert is_covered.all()
        assert len(np.unique(ids)) == count
        np.testing.assert_allclose(phi_to - phi_from, 2 * np.pi / count)
        np.testing.assert_allclose([phi_from[0], phi_to[-1]], [-np.pi, np.pi])


@pytest.mark.parametrize(
    ("cells", "eta", "count"),
    [
        (grid.ECAL, 0.01, 360),
        (grid.ECAL, -2.9, 360),
        (grid.ECAL, 2.95, 360),
        (grid.ECAL, 3.0, 36),
        (grid.ECAL, -4.9, 36),
        (grid.HCAL, 0.01, 72),
        (grid.HCAL, 1.65, 72),
        (grid.HCAL, -1.6, 72),
        (grid.HCAL, 1.7, 36),
        (grid.HCAL, -1.7, 36),
        (grid.HCAL, 4.5, 36),
        (grid.HCAL, 4.9, 18),
        (grid.HCAL, -4.6, 18),
    ],
)
def test_rings_are_cut_as_the_card_says(cells, eta, count):
    _, ids = cells.locate(array(eta), array(0.1))
    _, _, phi_from, phi_to = cells.bounds(ids)[:, 0]
    assert 2 * np.pi / (phi_to - phi_from) == pytest.approx(count)


@GRIDS
def test_the_edges_are_symmetric(cells):
    np.testing.assert_allclose(cells.eta_edges, -cells.eta_edges[::-1], atol=0.0175)
    assert (np.diff(cells.eta_edges) > 1e-3).all()
