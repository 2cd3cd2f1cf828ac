"""Propagates particles through the solenoid to the face of the calorimeter.

The face is a cylinder about the beam: radius 1.29 m, half length 3.00 m, filled by a field of 3.8 T
along z. Neutral particles move on straight lines, charged ones on helices, without energy loss.

Source: Delphes 3.4.3pre07, modules/ParticlePropagator.cc, and its CMS Phase II card.
"""

import dataclasses
import enum
import functools

import numpy as np
from jaxtyping import Float64, Int64

from mlpf_jax.simulation import particles, portable

SPEED_OF_LIGHT = 2.99792458e8  # m/s
RADIUS_M, HALF_LENGTH_M, FIELD_T = 1.29, 3.00, 3.8
_M_PER_MM = 1e-3
_EV_PER_GEV, _GEV_PER_EV = 1e9, 1e-9
_MIN_PT_SQUARED = 1e-9  # GeV^2
_NEVER = 1e99  # seconds


class ExitRule(enum.Enum):
    """The rule for finding the time at which a helix meets the barrel.

    EXACT solves for the crossings. DELPHES_2021 reproduces the public data set: it takes the first
    future one of six angles, only half of which are crossings. As a result, prompt particles whose
    circle barely reaches the barrel (0.735 < pT < 1.04 GeV) stop early, inside the barrel.

    Source: Delphes before and after its commit 38b4e15 ("fixed bug in propagation at low pT").
    """

    DELPHES_2021 = "delphes-2021"
    EXACT = "exact"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exits:
    """The points where particles reach the calorimeter, in the order of those particles.

    `particle` is the index among the event's particles; x, y, z are in m; `perigee_phi` is the
    direction of flight where a helix is closest to the beam line, NaN for neutral particles.
    """

    particle: Int64[np.ndarray, " exits"]
    x: Float64[np.ndarray, " exits"]
    y: Float64[np.ndarray, " exits"]
    z: Float64[np.ndarray, " exits"]
    perigee_phi: Float64[np.ndarray, " exits"]

    def __len__(self) -> int:
        return len(self.particle)

    @functools.cached_property
    def eta(self) -> Float64[np.ndarray, " exits"]:
        """Pseudorapidity of the exit point with respect to the detector's centre."""
        return portable.pseudorapidity(self.x, self.y, self.z)

    @functools.cached_property
    def phi(self) -> Float64[np.ndarray, " exits"]:
        """Azimuth of the exit point."""
        return portable.atan2(self.y, self.x)


def propagate(
    produced: particles.Particles, *, exit_rule: ExitRule = ExitRule.DELPHES_2021
) -> Exits:
    """Propagates particles to the calorimeter's face; excludes those produced outside of it."""
    distance = portable.hypot(produced.x * _M_PER_MM, produced.y * _M_PER_MM)
    inside = (distance <= RADIUS_M) & (np.abs(produced.z * _M_PER_MM) <= HALF_LENGTH_M)
    reaches = inside & (produced.pt * produced.pt >= _MIN_PT_SQUARED)
    neutral = np.flatnonzero(reaches & (produced.charge == 0))
    charged = np.flatnonzero(reaches & (produced.charge != 0))
    neutral_exit = _straight_exit(produced.take(neutral))
    charged_exit, perigee_phi = _helix_exit(produced.take(charged), exit_rule)

    particle = np.concatenate([neutral, charged])
    order = np.argsort(particle, kind="stable")
    x, y, z = np.concatenate([neutral_exit, charged_exit], axis=1).take(order, axis=1)
    no_perigee = np.full(len(neutral), np.nan)
    return Exits(
        particle=particle[order],
        x=x,
        y=y,
        z=z,
        perigee_phi=np.concatenate([no_perigee, perigee_phi])[order],
    )


def _straight_exit(neutral: particles.Particles) -> Float64[np.ndarray, "3 neutrals"]:
    """Returns the points where straight lines leave the cylinder.

    "Time" here means the path length over the momentum, in m/GeV.
    """
    x, y, z = neutral.x * _M_PER_MM, neutral.y * _M_PER_MM, neutral.z * _M_PER_MM
    px, py, pz = neutral.px, neutral.py, neutral.pz
    pt_squared = px * px + py * py
    cross, dot = px * y - py * x, px * x + py * y
    discriminant = pt_squared * (RADIUS_M * RADIUS_M) - cross * cross
    time = (np.sqrt(np.maximum(discriminant, 0.0)) - dot) / pt_squared
    beyond_endcap = np.abs(z + pz * time) > HALF_LENGTH_M
    endcap_time = (_endcap_ahead(pz) - z) / np.where(pz == 0, 1.0, pz)
    time = np.where(beyond_endcap, endcap_time, time)
    return np.stack([x + px * time, y + py * time, z + pz * time])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Circles:
    """Helices seen along the beam, in m; `radius` has the sign of the charge, `phi` is the initial
    direction of flight, and `centre_distance` is the distance of the centre from the beam line.
    """

    radius: Float64[np.ndarray, " charged"]
    phi: Float64[np.ndarray, " charged"]
    centre_x: Float64[np.ndarray, " charged"]
    centre_y: Float64[np.ndarray, " charged"]
    centre_distance: Float64[np.ndarray, " charged"]

    @property
    def perigee_phi(self) -> Float64[np.ndarray, " charged"]:
        """The direction of flight closest to the beam line."""
        sign = np.where(self.radius > 0, 1.0, -1.0)
        return portable.atan2(sign * self.centre_x, -sign * self.centre_y)


def _helix_exit(
    charged: particles.Particles, exit_rule: ExitRule
) -> tuple[Float64[np.ndarray, "3 charged"], Float64[np.ndarray, " charged"]]:
    """Returns where helices leave the cylinder, and their direction closest to the beam line."""
    pz, energy, charge = charged.pz, charged.energy, charged.charge.astype(np.float64)
    circles = _circles(charged)
    turn = charge * (FIELD_T * SPEED_OF_LIGHT * SPEED_OF_LIGHT * _GEV_PER_EV) / energy  # rad/s
    velocity_z = pz * SPEED_OF_LIGHT / energy

    start_z, flies_along_z = charged.z * _M_PER_MM, pz != 0
    endcap_time = (_endcap_ahead(pz) - start_z) / np.where(flies_along_z, velocity_z, 1.0)
    endcap_time = np.where(flies_along_z, endcap_time, _NEVER)
    times = _barrel_angles(circles, exit_rule) / turn
    barrel_time = np.where(times < 0, _NEVER, times).min(axis=0)
    curls = circles.centre_distance + np.abs(circles.radius) < RADIUS_M
    time = np.where(curls, endcap_time, np.minimum(barrel_time, endcap_time))
    time = np.where(time < _NEVER, time, 0.0)  # circles forever: ends where it starts

    sine, cosine = portable.sin_cos(turn * time - circles.phi)
    x = circles.centre_x + circles.radius * sine
    y = circles.centre_y + circles.radius * cosine
    return np.stack([x, y, start_z + velocity_z * time]), circles.perigee_phi


def _circles(charged: particles.Particles) -> _Circles:
    pt, charge = charged.pt, charged.charge.astype(np.float64)
    radius = pt / (charge * FIELD_T) * (_EV_PER_GEV / SPEED_OF_LIGHT)
    centre_x = charged.x * _M_PER_MM + radius * (charged.py / pt)
    centre_y = charged.y * _M_PER_MM - radius * (charged.px / pt)
    return _Circles(
        radius=radius,
        phi=charged.phi,
        centre_x=centre_x,
        centre_y=centre_y,
        centre_distance=portable.hypot(centre_x, centre_y),
    )


def _barrel_angles(circles: _Circles, exit_rule: ExitRule) -> Float64[np.ndarray, "angles charged"]:
    """Returns the turning angles at which helices cross the barrel according to the rule."""
    pi, radius, distance = portable.PI, circles.radius, circles.centre_distance
    reach = RADIUS_M * RADIUS_M - distance * distance - radius * radius
    sine = reach / (2.0 * np.abs(radius) * np.where(distance > 0, distance, 1.0))
    a = portable.asin(np.clip(sine, -1.0, 1.0))
    centre_phi = portable.atan2(circles.centre_y, circles.centre_x)
    if exit_rule is ExitRule.EXACT:
        a = np.where(radius > 0, a, -a)
        delta = circles.phi - centre_phi
        whole_turns = (2 * pi) * np.arange(-2.0, 3.0)[:, None]
        return np.concatenate([delta + a + whole_turns, delta + pi - a + whole_turns])
    delta = circles.phi - np.where(circles.centre_x < 0, centre_phi + pi, centre_phi)
    delta = np.where(delta < -pi, delta + 2 * pi, delta)
    delta = np.where(delta > pi, delta - 2 * pi, delta)
    return np.stack(
        [delta + a, delta + pi - a, delta + pi + a, delta - a, delta - pi - a, delta - pi + a]
    )


def _endcap_ahead(pz: Float64[np.ndarray, " particles"]) -> Float64[np.ndarray, " particles"]:
    """Returns the z of the end cap that particles fly towards, in m."""
    return np.where(pz > 0, HALF_LENGTH_M, -HALF_LENGTH_M)
