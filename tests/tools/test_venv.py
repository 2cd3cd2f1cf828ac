"""The script that makes the environment, in a small repository with packages of its own."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# Builds the repository's own package without a build back end of the registry.
_BACKEND = f"""
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(folder + "/project-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("project.pth", "/nowhere")
        wheel.writestr("project-1.dist-info/METADATA", {_METADATA.format("project")!r})
        wheel.writestr("project-1.dist-info/WHEEL", {_WHEEL!r})
        wheel.writestr("project-1.dist-info/RECORD", "")
    return "project-1-py3-none-any.whl"
"""
_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "project"
version = "1"
"""


def _wheel(folder, name):
    path = folder / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", _METADATA.format(name))
        wheel.writestr(f"{info}/WHEEL", _WHEEL)
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    for name in ("locks", "tools"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    for name in ("venv.sh", "detect_backend.py"):
        shutil.copy(ROOT / "tools" / name, folder / "tools")
    for name in ("cpu", "cuda13", "test"):
        (folder / "locks" / f"{name}.txt").write_text(_wheel(tmp_path / "wheels", f"of_{name}"))
    (folder / "backend.py").write_text(_BACKEND)
    (folder / "pyproject.toml").write_text(_PROJECT)
    return folder


def make(folder, *names, **environ):
    """Starts the script with the registry that holds the small packages alone."""
    # Not VENV either, which make exports: it names the environment that these tests run in.
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "PYTHON", "VENV"))}
    wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder.parent / "wheels")}
    return subprocess.Popen(
        ["bash", "tools/venv.sh", *names],
        cwd=folder,
        env=kept | wheels | {"PYTHON": sys.executable, "BACKEND": "cpu"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def made(folder, *names, **environ):
    """Returns the status and what was said, without what pip says of this machine's settings."""
    with make(folder, *names, **environ) as process:
        told, wrong = process.communicate()
    lines = [line for line in (told + wrong).splitlines() if not line.startswith("WARNING: ")]
    return process.returncode, "\n".join(lines)


def modules(folder):
    """What is installed, of the small packages."""
    (packages,) = folder.glob(".venv/lib/python3.*/site-packages")
    return {path.stem for path in packages.glob("of_*.py")}


@pytest.mark.slow
def test_no_setting_of_a_site_installs_elsewhere(repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "ensurepip.py").write_text("raise SystemExit('of another Python')")
    (tmp_path / "constraint.txt").write_text("of_cpu==2\n")
    (tmp_path / "pip.conf").write_text(
        f"[global]\nuser = yes\nprefix = {elsewhere}\n"
        f"[install]\ntarget = {elsewhere}\nroot = {elsewhere}\n"
    )

    status, told = made(
        repository,
        PIP_USER="1",
        PIP_TARGET=str(elsewhere),
        PIP_PREFIX=str(elsewhere),
        PIP_ROOT=str(elsewhere),
        PIP_CONSTRAINT=str(tmp_path / "constraint.txt"),
        PIP_REQUIRE_HASHES="1",
        PIP_REQUIRE_VIRTUALENV="1",
        PIP_CONFIG_FILE=str(tmp_path / "pip.conf"),
        PYTHONPATH=str(tmp_path / "path"),
        PYTHONHOME="/nowhere",
        PYTHONNOUSERSITE="",
        PYTHONUSERBASE=str(elsewhere),
        VIRTUAL_ENV="/nowhere",
        MAKEFLAGS="-n",
    )

    assert status == 0, told
    assert modules(repository) == {"of_cpu"}
    assert not elsewhere.exists()


@pytest.mark.slow
def test_a_choice_is_told_in_one_line_and_kept_until_another_is_named(repository, tmp_path):
    (tmp_path / "bin").mkdir()
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 580.65.06, 9.0\n")
    smi.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    first = made(repository, BACKEND="", PATH=path)
    smi.unlink()
    second = made(repository, BACKEND="", PYTHON="", PATH=path)
    kept = modules(repository)
    third = made(repository, BACKEND="cpu")

    assert first[0] == second[0] == third[0] == 0
    assert first[1].splitlines()[0] == (
        "BACKEND=cuda13, for NVIDIA driver 580.65.06; to choose otherwise: "
        "make venv BACKEND=cpu (cuda12, cuda13, rocm7, tpu)"
    )
    assert second[1] == ""
    assert kept == {"of_cuda13"}
    assert "BACKEND=" not in third[1]
    assert modules(repository) == {"of_cpu"}


@pytest.mark.slow
def test_an_interrupted_installation_is_made_anew(repository):
    made(repository)
    (packages,) = repository.glob(".venv/lib/python3.*/site-packages")
    (packages / "of_cpu.py").unlink()  # half of it: its metadata are there
    (repository / ".venv" / "made-from" / "cpu.txt").unlink()
    (repository / ".venv" / "made-from" / "unfinished").touch()

    status, told = made(repository)

    assert status == 0
    assert "making .venv" in told
    assert modules(repository) == {"of_cpu"}


@pytest.mark.slow
def test_a_package_that_is_not_to_be_had_leaves_what_is_there(repository, tmp_path):
    made(repository)
    (wheel,) = (tmp_path / "wheels").glob("of_test*")
    wheel.rename(tmp_path / wheel.name)

    failed = made(repository, "test")
    after = made(repository)

    assert failed[0] == 2
    assert "locks/test.txt was not installed for the reason above" in failed[1]
    assert after == (0, "")
    assert modules(repository) == {"of_cpu"}


@pytest.mark.slow
def test_two_at_once_take_turns(repository):
    with make(repository) as first, make(repository, "test") as second:
        told = [process.communicate()[1] for process in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0), told
    assert "".join(told).count("making .venv") == 1
    assert modules(repository) == {"of_cpu", "of_test"}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BACKEND": "cuda99"}, "no locks/cuda99.txt; BACKEND is one of: cpu cuda13"),
        ({"PYTHON": "/nowhere/python"}, "no /nowhere/python here; name a Python 3.11 to 3.13"),
        ({"VENV": "locks"}, "VENV=locks holds something else than a virtual environment"),
        ({"VENV": "pyproject.toml/x"}, "VENV=pyproject.toml/x: no such folder can be made"),
    ],
)
def test_a_failed_environment_is_one_line_and_removes_nothing(repository, environ, message):
    status, told = made(repository, **environ)

    assert status == 2
    assert told.startswith(f"error: {message}")
    assert len(told.splitlines()) == 1
    assert (repository / "locks" / "cpu.txt").is_file()
