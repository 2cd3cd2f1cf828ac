"""Accuracies from counts, against counting one by one."""

import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax.model import metrics


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 2, 50, 6)).astype(np.float32)
    truth = rng.integers(0, 5, (3, 2, 50))  # class 5 is absent
    mask = np.arange(50) < rng.integers(10, 50, (3, 2, 1))
    return logits, np.where(mask, truth, 0), mask


def test_accuracies_equal_counting_one_by_one(batches):
    logits, truth, mask = batches
    guess = np.where(mask, logits.argmax(-1), 0)
    right = guess == truth
    recalls = [
        [right[b][truth[b] == c].mean() for c in np.unique(truth[b])] for b in range(len(truth))
    ]
    counts = np.array(
        [
            metrics.count_classes(*map(jnp.asarray, (logits[b], truth[b], mask[b]))).sum(0)
            for b in range(3)
        ]
    )

    accuracy = metrics.accuracy(counts, np.full(3, 100.0))

    assert accuracy.padded == pytest.approx(right.mean())
    assert accuracy.real == pytest.approx(right[mask].mean())
    present = sum(len(r) for r in recalls)
    assert accuracy.weighted == pytest.approx(sum(map(sum, recalls)) / present)
    assert accuracy.recall[1] == pytest.approx(right[truth == 1].mean())
    assert accuracy.recall[5] == 0


def test_padding_counts_as_correct_only_where_it_should():
    counts = np.zeros((1, 6, 6))
    counts[0, 1, 2] = 10  # ten real elements, all wrong

    accuracy = metrics.accuracy(counts, np.array([40.0]))

    assert accuracy.real == 0
    assert accuracy.padded == pytest.approx(0.75)
