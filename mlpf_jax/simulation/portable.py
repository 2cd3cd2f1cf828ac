"""Bit-reproducible float64 arithmetic and random numbers.

Libraries and processors disagree in the last bit of exp or sin, and a compiler may contract a*b+c.
A single bit can move a particle into another cell. This module uses only operations that IEEE 754
defines exactly (+ - * / sqrt, comparisons, rounding to integers, powers of two), one NumPy call
each, so every processor, SIMD level and NumPy version gives the same bits. The order of operations
is part of the contract: do not simplify formulas in this module. Results are accurate to a few
units in the last place.

Random bits come from Philox, a counter-based generator whose stream NumPy guarantees; NumPy's
distributions, which may change, are not used.
"""

import enum
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64, UInt64

PI = math.pi
_HALF_PI = 0.5 * PI
# ln 2 and pi/2, split into parts with trailing zero bits so that multiples of the first parts are
# exact. Source: W. J. Cody, W. Waite, Software Manual for the Elementary Functions (1980); the
# digits are those of FreeBSD's msun, e_exp.c and e_rem_pio2.c.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG2_E = 1.4426950408889634
_HALF_PI_PARTS = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
_TWO_OVER_PI = 0.6366197723675814
_SQRT_HALF = 0.7071067811865476


def _inverse_factorials(count: int) -> list[float]:
    terms = [1.0]
    for n in range(1, count):
        terms.append(terms[-1] / n)
    return terms


# Taylor coefficients, lowest power first. The series of sin, cos, log and atan are in x**2.
_EXP = _inverse_factorials(15)
_SIN = [(-1.0) ** i * _EXP[2 * i + 1] for i in range(7)] + [-1.0 / math.factorial(15)]
_COS = [(-1.0) ** i * _EXP[2 * i] for i in range(8)] + [1.0 / math.factorial(16)]
_LOG = [2.0 / (2 * i + 1) for i in range(12)]
_ATAN = [(-1.0) ** i / (2 * i + 1) for i in range(12)]


def exp(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Returns e**x for finite x."""
    power = np.rint(x * _LOG2_E)
    rest = x - power * _LN2_HIGH
    rest = rest - power * _LN2_LOW
    return np.ldexp(_polynomial(rest, _EXP), power.astype(np.int32))


def log(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Returns the natural logarithm of positive x."""
    mantissa, power = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa + mantissa, mantissa)
    k = (power - low).astype(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = s * _polynomial(s * s, _LOG)
    return k * _LN2_HIGH + (k * _LN2_LOW + series)


def sin_cos(
    x: Float64[np.ndarray, "*shape"],
) -> tuple[Float64[np.ndarray, "*shape"], Float64[np.ndarray, "*shape"]]:
    """Returns (sin x, cos x) for an angle in radians, with |x| below a million."""
    k = np.rint(x * _TWO_OVER_PI)
    rest = ((x - k * _HALF_PI_PARTS[0]) - k * _HALF_PI_PARTS[1]) - k * _HALF_PI_PARTS[2]
    square = rest * rest
    sine, cosine = rest * _polynomial(square, _SIN), _polynomial(square, _COS)
    quadrant = k.astype(np.int64) & 3
    odd = (quadrant & 1) == 1
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    sine = np.where(quadrant >= 2, -sine, sine)
    return sine, np.where((quadrant == 1) | (quadrant == 2), -cosine, cosine)


def atan2(
    y: Float64[np.ndarray, "*shape"], x: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """Returns the angle of the vector (x, y) in [-pi, pi]; 0 for the null vector."""
    abs_y, abs_x = np.abs(y), np.abs(x)
    longer = np.maximum(abs_x, abs_y)
    tangent = np.minimum(abs_x, abs_y) / np.where(longer > 0, longer, 1.0)
    for _ in range(2):  # halve the angle twice: the series then converges fast
        tangent = tangent / (1.0 + np.sqrt(1.0 + tangent * tangent))
    angle = 4.0 * (tangent * _polynomial(tangent * tangent, _ATAN))
    angle = np.where(abs_y > abs_x, _HALF_PI - angle, angle)
    angle = np.where(x < 0, PI - angle, angle)
    return np.where(y < 0, -angle, angle)


def asin(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Returns the arc sine of x in [-1, 1]."""
    return atan2(x, np.sqrt(np.maximum(1.0 - x * x, 0.0)))


def asinh(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Returns the inverse hyperbolic sine of x, absolutely accurate (not relatively, near 0)."""
    size = np.abs(x)
    value = log(size + np.sqrt(size * size + 1.0))
    return np.where(x < 0, -value, value)


def sinh_cosh(
    x: Float64[np.ndarray, "*shape"],
) -> tuple[Float64[np.ndarray, "*shape"], Float64[np.ndarray, "*shape"]]:
    """Returns (sinh x, cosh x); sinh is absolutely accurate (not relatively, near 0)."""
    growing = exp(x)
    falling = 1.0 / growing
    return 0.5 * (growing - falling), 0.5 * (growing + falling)


def hypot(
    x: Float64[np.ndarray, "*shape"], y: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """Returns the length of the vector (x, y)."""
    return np.sqrt(x * x + y * y)


def pseudorapidity(
    x: Float64[np.ndarray, "*shape"],
    y: Float64[np.ndarray, "*shape"],
    z: Float64[np.ndarray, "*shape"],
) -> Float64[np.ndarray, "*shape"]:
    """Returns eta of the direction (x, y, z); huge, but finite, along the beam."""
    transverse = hypot(x, y)
    return asinh(z / np.where(transverse > 0, transverse, 1e-100))


def log_normal(
    normal: Float64[np.ndarray, " n"],
    *,
    mean: Float64[np.ndarray, " n"],
    sigma: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """Converts standard normal numbers to log-normal ones with a mean and standard deviation.

    A mean of 0 or below gives 0.

    Source: Delphes, modules/MomentumSmearing.cc and SimpleCalorimeter.cc, LogNormal.
    """
    positive_mean = np.where(mean > 0, mean, 1.0)
    variance = log(1.0 + (sigma / positive_mean) * (sigma / positive_mean))
    value = exp(log(positive_mean) - 0.5 * variance + np.sqrt(variance) * normal)
    return np.where(mean > 0, value, 0.0)


def sum_at(
    indices: Int64[np.ndarray, " values"], values: Float64[np.ndarray, " values"], *, size: int
) -> Float64[np.ndarray, " {size}"]:
    """Returns the sum of the values of each index below size, added in their order."""
    # Without values, NumPy would return integers.
    return np.bincount(indices, weights=values, minlength=size).astype(np.float64, copy=False)


def _polynomial(
    x: Float64[np.ndarray, "*shape"], coefficients: Sequence[float]
) -> Float64[np.ndarray, "*shape"]:
    """Evaluates a polynomial by Horner's rule, lowest power first."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value


class Stage(enum.IntEnum):
    """The stages of an event that draw random numbers, each with its own stream."""

    MIXING = 0
    TRACKS = 1
    ECAL = 2
    HCAL = 3
    ORDER = 4
    MATCHING = 5


class Stream:
    """Random numbers of one (seed, event, stage), independent of all other streams."""

    def __init__(self, *, seed: int, event: int, stage: Stage) -> None:
        key = np.array([seed, event], np.uint64)
        self._philox = np.random.Philox(key=key, counter=np.array([0, 0, 0, stage], np.uint64))

    def raw(self, count: int) -> UInt64[np.ndarray, " {count}"]:
        """Returns integers of 64 random bits."""
        return self._philox.random_raw(count)

    def uniform(self, count: int) -> Float64[np.ndarray, " {count}"]:
        """Returns numbers in [0, 1) with 53 random bits."""
        return (self.raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> Float64[np.ndarray, " {count}"]:
        """Returns standard normal numbers.

        Source: G. E. P. Box, M. E. Muller, Ann. Math. Statist. 29 (1958) 610.
        """
        num_pairs = (count + 1) // 2
        radius = np.sqrt(-2.0 * log(1.0 - self.uniform(num_pairs)))
        sine, cosine = sin_cos(2.0 * PI * self.uniform(num_pairs))
        return np.stack([radius * cosine, radius * sine], axis=1).ravel()[:count]

    def permutation(self, count: int) -> Int64[np.ndarray, " {count}"]:
        """Returns 0 to count - 1 in random order."""
        return np.argsort(self.raw(count), kind="stable")

    def poisson(self, mean: float) -> int:
        """Returns one Poisson number by inversion, for means below 700."""
        term, total, cumulative = float(exp(np.array([-mean]))[0]), 0.0, []
        for k in range(int(mean + 12 * mean**0.5 + 20)):
            total += term
            cumulative.append(total)
            term = term * mean / (k + 1)
        return int(np.searchsorted(np.array(cumulative), self.uniform(1)[0], side="right"))
