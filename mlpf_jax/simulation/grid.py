"""The cells of a calorimeter in (eta, phi)."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from mlpf_jax.simulation import portable

_ETA_STRIDE = 1000  # cell id = eta index * stride + phi index; rings have fewer cells


class Grid:
    """Rings of cells between ascending eta edges, each divided into equal cells in phi.

    A cell includes its upper edges and excludes its lower ones. The number of cells of a ring is
    listed at its upper edge. There are no cells beyond the outermost edges.

    Source: Delphes 3.4.3pre07, modules/SimpleCalorimeter.cc.
    """

    def __init__(self, cells_of_edge: dict[float, int]) -> None:
        """Takes the number of cells in phi of the ring below each eta edge."""
        # Edges are multiples of a step: rounding to 12 digits removes the rounding noise.
        rounded = {float(f"{edge:.12g}"): count for edge, count in cells_of_edge.items()}
        self.eta_edges = np.array(sorted(rounded))
        self.cells_around = np.array([rounded[edge] for edge in sorted(rounded)])

    def locate(
        self, eta: Float64[np.ndarray, " points"], phi: Float64[np.ndarray, " points"]
    ) -> tuple[Bool[np.ndarray, " points"], Int64[np.ndarray, " points"]]:
        """Returns whether each point lies in a cell, and the cell ids of the points that do."""
        ring = np.searchsorted(self.eta_edges, eta, side="left")
        covered = (ring > 0) & (ring < len(self.eta_edges))
        ring = np.where(covered, ring, 1)
        half_turn = self.cells_around[ring] // 2
        around = np.ceil(phi / portable.PI * half_turn).astype(np.int64) + half_turn
        return covered & (around > 0) & (around <= 2 * half_turn), ring * _ETA_STRIDE + around

    def bounds(self, cells: Int64[np.ndarray, " cells"]) -> Float64[np.ndarray, "4 cells"]:
        """Returns the bounds of cells: lowest eta, highest eta, lowest phi, highest phi."""
        ring, around = cells // _ETA_STRIDE, cells % _ETA_STRIDE
        half_turn = self.cells_around[ring] // 2
        phi_from = portable.PI * (around - 1 - half_turn) / half_turn
        phi_to = portable.PI * (around - half_turn) / half_turn
        return np.stack([self.eta_edges[ring - 1], self.eta_edges[ring], phi_from, phi_to])


def _both_sides(edges: list[float]) -> list[float]:
    return [-edge for edge in edges] + edges


# Source: the grids of delphes_card_CMS_PhaseII_200PU, ECal and HCal.
_FORWARD = [3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175, 4.35, 4.525, 4.7, 5.0]
_HCAL_ENDCAP = [1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95, *_FORWARD[:8]]
_ECAL_STEP = 0.0174
ECAL = Grid(
    dict.fromkeys([i * _ECAL_STEP for i in range(-85, 87)], 360)
    | dict.fromkeys([-2.958 + i * _ECAL_STEP for i in range(1, 85)], 360)
    | dict.fromkeys([1.4964 + i * _ECAL_STEP for i in range(1, 85)], 360)
    | dict.fromkeys([*_both_sides(_FORWARD), -2.958], 36)
)
HCAL = Grid(
    dict.fromkeys([0.087 * i for i in range(-18, 20)], 72)
    | dict.fromkeys([*_both_sides(_HCAL_ENDCAP), -1.653, 4.525], 36)
    | dict.fromkeys([-5.0, -4.7, -4.525, 4.7, 5.0], 18)
)
