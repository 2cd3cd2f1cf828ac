"""The figure of a study is drawn despite failures, and reproducibly."""

import pytest

from tests.study import fake_runs

plots = pytest.importorskip("mlpf_jax.study.plots", exc_type=ImportError)


@pytest.mark.slow
def test_a_study_with_gaps_is_drawn_twice_alike(tmp_path):
    runner = fake_runs.FakeMain(noise=0.01, failures={(1, 8): fake_runs.OUT_OF_MEMORY})
    found = fake_runs.findings(tmp_path, runner, "weak", "strong", "batch", "data", repeats=2)

    first, second = (plots.draw(found, "svg") for _ in range(2))

    assert first == second
    assert b"<svg" in first


def test_one_point_of_one_run_is_drawn(tmp_path):
    found = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1, max_devices=1)

    assert plots.draw(found, "png").startswith(b"\x89PNG")
