"""A verdict follows from difference, error and band."""

import dataclasses

import pytest

from mlpf_jax.events.validation import verdicts


def row(**fields):
    base = verdicts.Row(group="g", quantity="q", measured=100.0, error=0.0)
    return dataclasses.replace(base, **fields)


@pytest.mark.parametrize(
    ("fields", "half_width"),
    [
        ({"published": 50.0}, 1.0),
        ({"published": 50.0, "error": 3.0, "published_error": 4.0}, 16.0),
        ({"published": 50.0, "band": verdicts.Band.RARE}, 6.0),
        ({"published": -50.0, "band": verdicts.Band.RARE, "error": 9.0}, 6.0),
        ({"published": 50.0, "band": verdicts.Band.RATE}, 0.01),
        ({"published": 0.5, "band": verdicts.Band.RATE, "rounding": 0.005}, 0.015),
        ({"published": 0.0, "scale": 1.0}, 0.02),
    ],
)
def test_bands_are_as_wide_as_they_say(fields, half_width):
    assert row(**fields).half_width == pytest.approx(half_width)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, verdicts.Verdict.UNPUBLISHED),
        ({"published": 99.0}, verdicts.Verdict.INSIDE),
        ({"published": 97.0}, verdicts.Verdict.OUTSIDE),
        ({"published": 85.0, "band": verdicts.Band.RARE}, verdicts.Verdict.OUTSIDE),
        ({"published": 85.0, "band": verdicts.Band.RARE, "error": 1.0}, verdicts.Verdict.OUTSIDE),
        ({"published": 85.0, "band": verdicts.Band.RARE, "error": 2.0}, verdicts.Verdict.UNDECIDED),
        (
            {"published": 85.0, "band": verdicts.Band.RARE, "published_error": 2.0},
            verdicts.Verdict.UNDECIDED,
        ),
    ],
)
def test_a_difference_is_inside_outside_or_cannot_be_told(fields, verdict):
    assert row(**fields).verdict is verdict


def test_a_known_difference_is_named_only_where_it_shows():
    assert row(published=97.0, error=1.0, known=2).shown_known == 2
    assert row(published=99.0, error=1.0, known=2).shown_known == 0
    assert row(published=97.0, error=1.0, known=2, rounding=2.0).shown_known == 0
    assert row(known=2).shown_known == 0
