"""An environment is made by the checkout's own script from its own lock, once per lock."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax import processes
from mlpf_jax.regress import checkouts, installations

_SCRIPT = (
    'mkdir -p "$VENV/bin"; echo "$BACKEND $PYTHON $PWD" >>"$VENV/../made"; touch "$VENV/bin/python"'
)


@pytest.fixture
def mine(tmp_path):
    made_from = tmp_path / "made-from"
    made_from.mkdir()
    (made_from / "backend").write_text("cuda12\n")
    (made_from / "cuda12.txt").write_text("jax==1\n")
    return installations.Current(Path("/mine"), Path("/base"), "3.11", made_from)


@pytest.fixture
def make(tmp_path):
    def checkout(name, lock, script=_SCRIPT):
        folder = tmp_path / name
        for subfolder in ("locks", "tools"):
            (folder / subfolder).mkdir(parents=True)
        (folder / "locks" / "cuda12.txt").write_text(lock)
        (folder / "tools" / "venv.sh").write_text(script)
        return checkouts.Checkout(folder, name, "0" * 40)

    return checkout


def python_of(checkout, mine, tmp_path):
    return installations.python_of(checkout, tmp_path / "log.txt", mine, tmp_path / "kept")


def test_my_own_environment_serves_if_the_lock_is_the_same(make, mine, tmp_path):
    assert python_of(make("x", "jax==1\n"), mine, tmp_path) == Path("/mine")
    assert not (tmp_path / "kept").exists()


def test_another_lock_gets_an_environment_that_equal_locks_share(make, mine, tmp_path):
    first = python_of(make("x", "jax==2\n"), mine, tmp_path)
    second = python_of(make("y", "jax==2\n"), mine, tmp_path)
    other = python_of(make("z", "jax==3\n"), mine, tmp_path)

    assert first == second != other
    assert first.is_file()
    assert first.is_relative_to(tmp_path / "kept")
    lines = (tmp_path / "kept" / "made").read_text().splitlines()
    assert lines[0] == f"cuda12 /base {tmp_path / 'x'}"


def test_another_python_gets_another_environment(make, mine, tmp_path):
    newer = dataclasses.replace(mine, version="3.13")
    checkout = make("x", "jax==2\n")

    assert python_of(checkout, mine, tmp_path) != python_of(checkout, newer, tmp_path)


def test_a_script_that_fails_is_a_failed_run(make, mine, tmp_path):
    checkout = make("x", "jax==2\n", "echo 'error: no such index'; exit 2")

    with pytest.raises(
        processes.RunFailedError, match=r"^x: tools/venv.sh: ended with exit status 2"
    ) as caught:
        python_of(checkout, mine, tmp_path)

    assert caught.value.last_lines == ("error: no such index",)


@pytest.mark.parametrize("missing", ["locks/cuda12.txt", "tools/venv.sh"])
def test_an_old_commit_without_locks_needs_a_python_by_name(make, mine, tmp_path, missing):
    checkout = make("x", "jax==2\n")
    (checkout.folder / missing).unlink()

    with pytest.raises(ValueError, match=f"x has no {missing}: name a Python for it"):
        python_of(checkout, mine, tmp_path)


def test_an_environment_that_the_script_did_not_make_counts_as_one_of_the_cpu(mine, tmp_path):
    assert mine.backend == "cuda12"
    assert dataclasses.replace(mine, made_from=tmp_path / "nowhere").backend == "cpu"


def test_this_process_is_found_with_the_python_that_its_environment_was_made_with():
    current = installations.current()

    told = subprocess.run(
        [current.base_python, "-c", "import sys; print(sys.prefix, sys.version, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == f"{sys.base_prefix}\n{current.version}"
    assert current.python.samefile(sys.executable)
    assert current.made_from == Path(sys.prefix) / "made-from"


def test_without_a_home_the_line_names_the_ways_out(make, mine, tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    log = tmp_path / "log.txt"

    assert installations.python_of(make("x", "jax==1\n"), log, mine) == Path("/mine")
    with pytest.raises(ValueError, match=r"no home folder .*: set HOME or XDG_CACHE_HOME"):
        installations.python_of(make("y", "jax==2\n"), log, mine)
