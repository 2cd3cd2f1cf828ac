"""Output paths are tested before a run starts."""

from pathlib import Path

import pytest

from mlpf_jax import config
from mlpf_jax.run import files


@pytest.mark.parametrize(
    ("flag", "below"),
    [
        ("results_dir", "."),
        ("results_dir", "new"),
        ("profile", "."),
        ("compilation_cache", "."),
        ("checkpoint", "weights"),
        ("checkpoint", "new/weights"),
        ("mllog", "new/log"),
    ],
)
def test_a_full_disk_is_reported_at_the_start(full_disk, tmp_path, flag, below):
    places = {"results_dir": tmp_path / "results", flag: full_disk / below}

    with pytest.raises(ValueError, match=f"^--{flag}=.*: No space left on device.$"):
        files.prepare(config.FilesConfig(**places), infers_only=False)

    assert not [path for path in full_disk.rglob("*") if not path.is_dir()]


@pytest.mark.parametrize(
    "flag", ["results_dir", "profile", "compilation_cache", "checkpoint", "mllog"]
)
def test_trying_to_write_leaves_nothing(tmp_path, flag):
    places = {"results_dir": tmp_path / "results", flag: tmp_path / "some" / "where"}

    files.prepare(config.FilesConfig(**places), infers_only=False)

    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert (tmp_path / "some").is_dir()
    assert (tmp_path / "some" / "where").is_dir() == (flag not in ("checkpoint", "mllog"))


def test_a_checkpoint_path_below_a_file_is_reported_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    places = config.FilesConfig(
        results_dir=tmp_path / "results", checkpoint=tmp_path / "file" / "a" / "weights"
    )

    with pytest.raises(ValueError, match=r"--checkpoint=.*: Not a directory\.$"):
        files.prepare(places, infers_only=False)


def test_weights_to_infer_with_are_not_written(full_disk, tmp_path):
    (full_disk / "weights").mkdir()
    places = config.FilesConfig(results_dir=tmp_path, checkpoint=full_disk / "weights")

    files.prepare(places, infers_only=True)


def test_a_log_of_training_needs_training(tmp_path):
    with pytest.raises(ValueError, match=r"--mllog=.*: is a log of training"):
        files.prepare(
            config.FilesConfig(results_dir=tmp_path, mllog=tmp_path / "log"), infers_only=True
        )


def test_a_log_cannot_take_the_place_of_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"--mllog=.*: is a folder; give a file"):
        files.prepare(config.FilesConfig(results_dir=tmp_path, mllog=tmp_path), infers_only=False)


def test_a_user_without_a_home_needs_a_data_folder(tmp_path, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    files.prepare(config.FilesConfig(results_dir=tmp_path, data_dir=tmp_path), infers_only=False)

    with pytest.raises(
        ValueError, match="set HOME or XDG_CACHE_HOME, or name a folder with --data"
    ):
        files.prepare(config.FilesConfig(results_dir=tmp_path), infers_only=False)


def test_a_folder_of_checkpoints_needs_training(tmp_path):
    """It would count as complete, and training could not go on there."""
    places = config.FilesConfig(results_dir=tmp_path, checkpoint_dir=tmp_path / "checkpoints")

    with pytest.raises(ValueError, match=r"--checkpoint_dir=.*: keeps training"):
        files.prepare(places, infers_only=True)

    assert not (tmp_path / "checkpoints").exists()
