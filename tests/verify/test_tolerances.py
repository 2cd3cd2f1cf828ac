"""Which tolerance a quantity is judged by."""

import pytest

from mlpf_jax.verify import tolerances


@pytest.mark.parametrize(
    ("key", "num_elements", "tolerance"),
    [
        ("loss/total", 6400, 1e-5),
        ("metric/pt_loss", 6400, 1e-5),
        ("train/pt_loss_step1", 6400, 1e-5),
        ("train/pt_loss_step2", 6400, 1e-4),
        ("train/loss_step3", 6400, 1e-4),
        ("train/loss_step3", 256, 1e-5),
    ],
)
def test_only_losses_after_an_update_at_full_size_may_differ_more(key, num_elements, tolerance):
    assert tolerances.FLOAT32.of_loss(key, num_elements) == tolerance


def test_float64_grants_full_size_nothing_more():
    assert tolerances.FLOAT64.of_loss("train/loss_step3", 6400) == tolerances.FLOAT64.losses
