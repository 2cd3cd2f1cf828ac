"""Draws one event: tracks, towers, targets and candidates. Needs the extra `plots`."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure

from mlpf_jax.events import store
from mlpf_jax.events.validation import observables

_TOWER, _TRACK = 1, 2
# Columns of the elements.
_TYPE, _PT, _ETA, _SIN, _COS, _ENERGY, _OUTER_ETA, _OUTER_SIN, _OUTER_COS, _CHARGE = range(10)
_IS_MUON, _IS_ELECTRON = 10, 11
_ECAL_ENERGY, _HCAL_ENERGY = 6, 7

# The detector of the data set, as in `simulation.propagation`.
_RADIUS_M, _HALF_LENGTH_M = 1.29, 3.0
_GEV_PER_M = 0.299792458 * 3.8  # transverse momentum over the radius of a track's circle
_MIN_DRAWN_PT_GEV = 1.0
_BARREL_ETA = 1.5
_M_PER_GEV = 0.02  # length of a tower's bar

_BLUE, _ORANGE, _GREEN, _RED, _PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
_COLOURS = dict(zip(observables.PARTICLES, (_BLUE, _ORANGE, _GREEN, _RED, _PINK), strict=True))
_STYLE = {"font.size": 9.0, "legend.fontsize": 8.0, "axes.titlelocation": "left"}


def draw(event: store.Event, title: str) -> figure.Figure:
    """Returns a figure of an event: along the beam, and unrolled in eta and phi."""
    with mpl.rc_context(_STYLE):
        picture = figure.Figure(figsize=(14.0, 13.0), layout="constrained")
        picture.suptitle(title, x=0.01, ha="left")
        along_beam, elements, targets, candidates = picture.subplots(2, 2).flat
        _draw_along_beam(along_beam, event.elements.astype(np.float64))
        _draw_elements(elements, event.elements.astype(np.float64))
        _draw_particles(targets, event.targets, "targets: the generated particles")
        _draw_particles(candidates, event.candidates, "candidates: the rule-based reconstruction")
    return picture


def png(picture: figure.Figure) -> bytes:
    """Returns a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=65)
    return buffer.getvalue()


def _draw_along_beam(panel: axes.Axes, rows: np.ndarray) -> None:
    tracks = rows[(rows[:, _TYPE] == _TRACK) & (rows[:, _PT] > _MIN_DRAWN_PT_GEV)]
    for track in tracks:
        colour = _PINK if track[_IS_MUON] else _RED if track[_IS_ELECTRON] else _BLUE
        width = 0.4 + 0.05 * min(track[_PT], 40.0)
        panel.plot(*helix(track), color=colour, linewidth=width, alpha=0.5)
    for column, colour, inner, name in (
        (_ECAL_ENERGY, _GREEN, _RADIUS_M, "ECAL"),
        (_HCAL_ENERGY, _ORANGE, 1.15 * _RADIUS_M, "HCAL"),
    ):
        towers = rows[(rows[:, _TYPE] == _TOWER) & (rows[:, column] > 0)]
        towers = towers[np.abs(towers[:, _ETA]) < _BARREL_ETA]
        outer = inner + _M_PER_GEV * towers[:, _PT]
        for k, tower in enumerate(towers):
            ends = np.array([inner, outer[k]])
            panel.plot(ends * tower[_COS], ends * tower[_SIN], color=colour, linewidth=1)
        panel.plot([], [], color=colour, label=f"{name} towers, |$\\eta$| < 1.5, by ET")
    for colour, name in ((_BLUE, "tracks above 1 GeV"), (_RED, "electrons"), (_PINK, "muons")):
        panel.plot([], [], color=colour, label=name)
    panel.set_aspect("equal")
    panel.set_xlim(-2.2, 2.2)
    panel.set_ylim(-2.2, 2.2)
    _finish(panel, "along the beam", "x [m]", "y [m]")


def helix(track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of a track from the beam line to the calorimeter, in m.

    The track leaves the beam line in the direction of its phi, on a circle of radius pT / 0.3 B.
    """
    radius = track[_PT] / (_GEV_PER_M * track[_CHARGE])
    phi = np.arctan2(track[_SIN], track[_COS])
    # A track ends at the end cap, HALF_LENGTH = |radius| turn sinh(eta), or at the barrel (a
    # chord).
    to_endcap = _HALF_LENGTH_M / max(abs(radius * np.sinh(track[_ETA])), 1e-9)
    to_barrel = 2 * np.arcsin(min(_RADIUS_M / abs(2 * radius), 1.0))
    turned = np.linspace(0, min(to_endcap, to_barrel), 40) * np.sign(radius)
    x = radius * (np.sin(phi) - np.sin(phi - turned))
    y = radius * (np.cos(phi - turned) - np.cos(phi))
    return x, y


def _draw_elements(panel: axes.Axes, rows: np.ndarray) -> None:
    tracks = rows[rows[:, _TYPE] == _TRACK]
    phi = np.arctan2(tracks[:, _OUTER_SIN], tracks[:, _OUTER_COS])
    label = f"{len(tracks)} tracks, where they leave the tracker"
    panel.scatter(tracks[:, _OUTER_ETA], phi, _area(tracks[:, _PT]), _BLUE, label=label)
    for column, colour, name in ((_ECAL_ENERGY, _GREEN, "ECAL"), (_HCAL_ENERGY, _ORANGE, "HCAL")):
        towers = rows[(rows[:, _TYPE] == _TOWER) & (rows[:, column] > 0)]
        phi = np.arctan2(towers[:, _SIN], towers[:, _COS])
        label = f"{len(towers)} {name} towers"
        area = _area(towers[:, _PT])
        panel.scatter(towers[:, _ETA], phi, area, colour, marker="s", alpha=0.6, label=label)
    _finish_unrolled(panel, "elements: the detector's output")


def _draw_particles(panel: axes.Axes, rows: np.ndarray, title: str) -> None:
    particles = observables.particles_of(rows)
    phi = np.arctan2(particles.py, particles.px)
    for class_id, name in enumerate(observables.CLASSES):
        if class_id == 0:
            continue
        of_class = particles.class_id == class_id
        label = f"{of_class.sum()} {name.replace('_', ' ')}s"
        area = _area(particles.pt[of_class])
        panel.scatter(
            particles.eta[of_class],
            phi[of_class],
            area,
            _COLOURS[name],
            alpha=0.7,
            label=label,
            zorder=class_id,
        )
    _finish_unrolled(panel, title)


def _area(pt: np.ndarray) -> np.ndarray:
    return 1.5 * np.clip(pt, 0.3, 60.0)


def _finish_unrolled(panel: axes.Axes, title: str) -> None:
    panel.set_xlim(-5.5, 5.5)
    panel.set_ylim(-np.pi, np.pi)
    _finish(panel, f"{title} (area: pT)", r"$\eta$", r"$\phi$")


def _finish(panel: axes.Axes, title: str, x_label: str, y_label: str) -> None:
    panel.set_title(title)
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    legend = panel.legend(loc="upper right", framealpha=0.9)
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([20.0])
