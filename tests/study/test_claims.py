"""A folder has runs of one plan."""

import pytest

from mlpf_jax.study import claims


def test_a_folder_with_other_results_is_refused(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="not empty"):
        claims.claim(tmp_path / "x", {"platform": "auto"}, must_be_new=True)
    claims.claim(tmp_path / "y", {"platform": "auto"}, must_be_new=True)
    claims.claim(tmp_path / "y", {"platform": "auto"}, must_be_new=True)
    with pytest.raises(ValueError, match="different platform, which cannot be mixed"):
        claims.claim(tmp_path / "y", {"platform": "cpu"}, must_be_new=True)


def test_one_study_at_a_time_measures_in_a_folder(tmp_path):
    with (
        claims.held(tmp_path / "new"),
        pytest.raises(ValueError, match="another study is measuring in it"),
        claims.held(tmp_path / "new"),
    ):
        pass
    with claims.held(tmp_path / "new"):
        pass
