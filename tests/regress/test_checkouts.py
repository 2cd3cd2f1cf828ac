"""Checkouts of commits, and error messages for git's failures."""

import os

import pytest

from mlpf_jax.regress import checkouts
from tests import fake_benchmark
from tests.fake_benchmark import git


@pytest.fixture
def repository(tmp_path):
    return fake_benchmark.make(tmp_path / "repository", {}, {"training": 2.0})


@pytest.fixture
def shallow(repository, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    git(clone, "switch", "--quiet", "--create", "branch")
    git(clone, "commit", "--quiet", "--allow-empty", "--message=x")
    git(clone, "branch", "--quiet", "--delete", "--force", "--remotes", "origin/main")
    return clone


def test_the_default_base_of_a_shallow_clone_is_refused_with_the_way_out(shallow):
    with pytest.raises(ValueError, match=r"clone is shallow: git fetch --unshallow .*fetch-depth"):
        checkouts.default_base(shallow)


def test_a_commit_that_a_shallow_clone_lacks_is_named_as_that(shallow, repository, tmp_path):
    first = git(repository, "rev-parse", "HEAD~1")

    with (
        pytest.raises(ValueError, match=rf"{first}.* is not available: this clone is shallow"),
        checkouts.worktree(shallow, first, tmp_path / "files"),
    ):
        pass


def test_a_name_that_is_nowhere_is_told_with_gits_reason(repository, tmp_path):
    with (
        pytest.raises(
            ValueError, match=r"^nowhere: git rev-parse: fatal: Needed a single revision"
        ),
        checkouts.worktree(repository, "nowhere", tmp_path / "files"),
    ):
        pass


def test_a_checkout_that_was_interrupted_is_removed(repository, tmp_path):
    folder = tmp_path / "files"
    with checkouts.worktree(repository, "main", folder):
        git(repository, "worktree", "lock", str(folder))  # as git does until its files are there

    assert not folder.exists()
    assert not list(repository.glob(".git/worktrees/*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another user")
def test_another_owners_repository_is_refused_with_gits_reason_and_its_advice(
    repository, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))  # no safe.directory of this user
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)

    with pytest.raises(ValueError, match="dubious ownership") as caught:
        checkouts.top_folder(repository)

    text = str(caught.value)
    assert text.startswith("git rev-parse: fatal: detected dubious ownership in repository at ")
    assert text.endswith(f"; git config --global --add safe.directory {repository}")


def test_a_digest_is_of_contents_and_names_and_not_of_what_python_compiled(repository, tmp_path):
    first = checkouts.working_tree(repository).digest(["mlpf_jax", "preset.cfg"])
    package = repository / "mlpf_jax"
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "main.pyc").write_bytes(b"x")
    (repository / "README.md").write_text("x")
    same = checkouts.working_tree(repository).digest(["mlpf_jax", "preset.cfg"])
    (package / "version").rename(package / "other")
    renamed = checkouts.working_tree(repository).digest(["mlpf_jax", "preset.cfg"])

    assert first == same != renamed
