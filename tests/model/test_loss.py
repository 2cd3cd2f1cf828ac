"""The losses against their definitions, element by element."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.model import loss, pfnet

NUM_ELEMENTS = 9


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    names = ("charge", "pt", "eta", "sin_phi", "cos_phi", "energy")
    logits = rng.normal(size=(2, NUM_ELEMENTS, 6)).astype(np.float32)
    guessed = {name: rng.normal(size=(2, NUM_ELEMENTS)).astype(np.float32) for name in names}
    columns = rng.normal(size=(2, NUM_ELEMENTS, 7)).astype(np.float32)
    columns[..., 0] = rng.integers(0, 6, (2, NUM_ELEMENTS))
    mask = np.arange(NUM_ELEMENTS) < np.array([[9], [5]])
    candidates = pfnet.Candidates(
        jnp.asarray(logits), **{name: jnp.asarray(v) for name, v in guessed.items()}
    )
    return candidates, jnp.asarray(columns), jnp.asarray(mask)


def huber_by_cases(error, delta):
    size = abs(error)
    return size**2 / 2 if size <= delta else delta * size - delta**2 / 2


def test_losses_equal_their_definitions(case):
    candidates, columns, mask = case
    logits = np.asarray(candidates.class_logits, np.float64)
    columns64 = np.asarray(columns, np.float64)
    expected = {name: np.zeros(2) for name in loss.COEFFICIENTS}
    deltas = {"pt": 1.0, "energy": 1.0, "eta": 0.1, "sin_phi": 0.1, "cos_phi": 0.1}
    order = ("charge", "pt", "eta", "sin_phi", "cos_phi", "energy")
    for event in range(2):
        for i in np.flatnonzero(mask[event]):
            true = int(columns64[event, i, 0])
            row = logits[event, i]
            expected["cls"][event] += np.log(np.sum(np.exp(row))) - row[true]
            if true == 0:
                continue
            for column, name in enumerate(order, start=1):
                error = float(getattr(candidates, name)[event, i]) - columns64[event, i, column]
                expected[name][event] += (
                    error**2 if name == "charge" else huber_by_cases(error, deltas[name])
                )

    ours = loss.event_losses(candidates, loss.split_targets(columns), mask)

    for name, total in expected.items():
        np.testing.assert_allclose(ours[name], total / NUM_ELEMENTS, rtol=1e-5)
    weighted = sum(loss.COEFFICIENTS[name] * expected[name] / NUM_ELEMENTS for name in expected)
    np.testing.assert_allclose(loss.total(ours), weighted, rtol=1e-5)


@settings(max_examples=100)
@given(st.floats(-10, 10, width=32), st.sampled_from([0.1, 1.0]))
def test_huber_equals_its_two_cases(error, delta):
    ours = float(loss.huber(jnp.float32(error), delta))
    assert ours == pytest.approx(huber_by_cases(error, delta), rel=1e-5, abs=1e-9)


def test_huber_has_a_bounded_gradient():
    gradient = jax.vmap(jax.grad(lambda e: loss.huber(e, 0.1)))(jnp.array([-5.0, 0.05, 0.0, 5.0]))
    np.testing.assert_allclose(gradient, [-0.1, 0.05, 0.0, 0.1], rtol=1e-6)


def test_saturated_logits_give_a_finite_loss(case):
    candidates, columns, mask = case
    saturated = candidates._replace(class_logits=candidates.class_logits * 1e4)
    losses = loss.event_losses(saturated, loss.split_targets(columns), mask)
    assert np.all(np.isfinite(losses["cls"]))
    assert np.all(losses["cls"] > 100)
