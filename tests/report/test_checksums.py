"""The checksum of the code covers what is measured, and nothing else."""

import shutil

import pytest

from mlpf_jax.measure import environment
from mlpf_jax.report import checksums


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, whose files the tests change and put back."""
    copy = tmp_path_factory.mktemp("copy") / "mlpf_jax"
    shutil.copytree(environment.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def md5_with_change(package, name):
    path = package / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n# another comment\n")
    try:
        return checksums.code_md5(package)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "name",
    [
        "config.py",
        "runtime.py",
        "measure/timing.py",
        "measure/variables.py",
        "simulation/bank_4096.npz",
        *("events/store.py", "model/pfnet.py", "run/phases.py", "training/step.py"),
    ],
)
def test_a_change_of_what_is_measured_changes_the_checksum(package, name):
    assert md5_with_change(package, name) != checksums.code_md5(package)


@pytest.mark.parametrize(
    "name",
    [
        *("page/html.py", "compare/talk.py", "report/model.py", "regress/schema.json"),
        *("stats/summaries.py", "verify/golden.py", "commands/compare.py", "measure/peaks.py"),
    ],
)
def test_a_change_elsewhere_leaves_the_checksum_alone(package, name):
    assert md5_with_change(package, name) == checksums.code_md5(package)


def test_a_file_that_is_renamed_changes_the_checksum(package):
    before = checksums.code_md5(package)
    path = package / "model" / "loss.py"
    path.rename(path.with_name("losses.py"))
    try:
        assert checksums.code_md5(package) != before
    finally:
        path.with_name("losses.py").rename(path)


def test_all_that_is_declared_as_measured_is_there():
    assert [n for n in checksums.MEASURED if not (environment.PACKAGE / n).exists()] == []
