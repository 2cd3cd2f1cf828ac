"""The arithmetic is accurate, its bits are the agreed ones, and the numbers are random."""

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpf_jax.simulation import portable

ULP = 2.0**-52


def array(*values):
    return np.array(values, np.float64)


def finite(limit):
    return st.floats(-limit, limit, allow_nan=False)


@given(st.floats(-700, 700))
def test_exp_is_accurate(x):
    assert portable.exp(array(x))[0] == pytest.approx(math.exp(x), rel=3 * ULP)


@given(st.floats(1e-300, 1e300))
def test_log_is_accurate(x):
    assert portable.log(array(x))[0] == pytest.approx(math.log(x), rel=3 * ULP, abs=ULP)


@given(finite(1e5))
def test_sine_and_cosine_are_accurate(x):
    sine, cosine = portable.sin_cos(array(x))
    assert sine[0] == pytest.approx(math.sin(x), rel=0, abs=3 * ULP)
    assert cosine[0] == pytest.approx(math.cos(x), rel=0, abs=3 * ULP)


@given(finite(1e6), finite(1e6))
def test_atan2_is_accurate_in_all_quadrants(y, x):
    # Adding 0 turns -0 into 0: the sign of a zero is not part of the contract.
    expected = math.atan2(y + 0.0, x + 0.0)
    assert portable.atan2(array(y), array(x))[0] == pytest.approx(expected, rel=4 * ULP, abs=1e-300)


def test_atan2_of_the_null_vector_is_zero():
    assert portable.atan2(array(0.0), array(0.0))[0] == 0


@given(finite(1))
def test_asin_is_accurate(x):
    # Near 1 the square root loses half of the digits: no algorithm that takes only x does better
    # than the rounding of 1 - x * x.
    assert portable.asin(array(x))[0] == pytest.approx(math.asin(x), rel=0, abs=3e-8)
    assert math.sin(portable.asin(array(x))[0]) == pytest.approx(x, rel=0, abs=4 * ULP)


@given(finite(1e6))
def test_asinh_is_accurate(x):
    assert portable.asinh(array(x))[0] == pytest.approx(math.asinh(x), rel=4 * ULP, abs=4 * ULP)


@given(finite(30))
def test_hyperbolic_functions_are_accurate(x):
    sinh, cosh = portable.sinh_cosh(array(x))
    assert sinh[0] == pytest.approx(math.sinh(x), rel=4 * ULP, abs=4 * ULP)
    assert cosh[0] == pytest.approx(math.cosh(x), rel=4 * ULP)


def test_exp_agrees_with_an_exact_series():
    x = Fraction(5, 8)
    term, total = Fraction(1), Fraction(1)
    for n in range(1, 40):
        term = term * x / n
        total += term
    error = Fraction(float(portable.exp(array(0.625))[0])) - total
    assert abs(error / total) < Fraction(1, 2**52)


@given(finite(5), finite(math.pi), st.floats(0.01, 100))
def test_pseudorapidity_undoes_the_direction(eta, phi, pt):
    x, y, z = pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)
    assert portable.pseudorapidity(array(x), array(y), array(z))[0] == pytest.approx(eta, abs=1e-13)


def test_pseudorapidity_along_the_beam_is_finite():
    eta = portable.pseudorapidity(array(0.0, 0.0), array(0.0, 0.0), array(1.0, -1.0))
    assert np.isfinite(eta).all()
    assert eta[0] == -eta[1] > 100


def test_log_normal_numbers_have_the_mean_and_the_deviation():
    normal = portable.Stream(seed=3, event=0, stage=portable.Stage.TRACKS).normal(200_000)
    mean, sigma = np.full_like(normal, 7.0), np.full_like(normal, 2.0)
    values = portable.log_normal(normal, mean=mean, sigma=sigma)
    assert values.mean() == pytest.approx(7.0, abs=5 * 2.0 / 200_000**0.5)
    assert values.std() == pytest.approx(2.0, rel=0.02)
    assert (values > 0).all()


def test_log_normal_numbers_of_no_mean_are_zero():
    assert not portable.log_normal(array(1, 1), mean=array(0, -3), sigma=array(1, 1)).any()


def test_sums_are_floats_even_of_nothing():
    indices = np.array([2, 0, 2])
    assert portable.sum_at(indices, array(1, 2, 4), size=4).tolist() == [2, 0, 5, 0]
    assert portable.sum_at(indices[:0], array(), size=2).dtype == np.float64


def test_bits_are_the_agreed_ones():
    """They must never change: every simulated event would."""
    x = np.linspace(-20, 20, 4001)
    results = [
        portable.exp(x),
        portable.log(x * x + 1e-9),
        *portable.sin_cos(x),
        portable.atan2(x, x[::-1] + 0.5),
        portable.asin(x / 21),
        portable.asinh(x),
        *portable.sinh_cosh(x),
        portable.Stream(seed=1, event=2, stage=portable.Stage.ECAL).normal(101),
    ]
    digest = hashlib.sha256(b"".join(r.tobytes() for r in results)).hexdigest()
    assert digest == "1c62c761961851cb1138de403e03d86eff7b7494dc5044ef4cdba97cfc24ae6e"


def test_streams_are_reproducible_and_do_not_overlap():
    names = [
        (1, 0, portable.Stage.MIXING),
        (1, 0, portable.Stage.ECAL),
        (1, 1, portable.Stage.MIXING),
        (2, 0, portable.Stage.MIXING),
    ]
    streams = [
        [portable.Stream(seed=s, event=e, stage=g).raw(1000) for s, e, g in names] for _ in range(2)
    ]
    np.testing.assert_array_equal(streams[0], streams[1])
    assert len(np.unique(np.concatenate(streams[0]))) == 4000


def test_uniform_numbers_fill_the_unit_interval():
    uniform = portable.Stream(seed=0, event=0, stage=portable.Stage.HCAL).uniform(50_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    counts = np.histogram(uniform, bins=50, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 49 + 5 * (2 * 49) ** 0.5


def test_normal_numbers_have_the_moments_of_a_gaussian():
    normal = portable.Stream(seed=0, event=1, stage=portable.Stage.HCAL).normal(200_001)
    assert len(normal) == 200_001
    moments = [(normal**k).mean() for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.06)


@given(st.integers(0, 200))
def test_permutations_hold_every_number_once(count):
    permutation = portable.Stream(seed=5, event=count, stage=portable.Stage.ORDER).permutation(
        count
    )
    assert sorted(permutation) == list(range(count))


def test_poisson_numbers_have_mean_and_variance_200():
    numbers = np.array(
        [
            portable.Stream(seed=9, event=i, stage=portable.Stage.MIXING).poisson(200.0)
            for i in range(2000)
        ]
    )
    assert numbers.mean() == pytest.approx(200, abs=5 * (200 / 2000) ** 0.5)
    assert numbers.var() == pytest.approx(200, rel=0.2)
