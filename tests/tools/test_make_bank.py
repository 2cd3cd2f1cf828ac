"""The tool makes a bank, goes on after Ctrl-C, and answers wrong usage in one line."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mlpf_jax.simulation import bank

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tools.make_bank"]


def make_bank(*flags, **environment):
    return subprocess.run(
        [*COMMAND, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.slow  # Pythia takes seconds to start
def test_a_tiny_bank_is_made_and_named(tmp_path):
    pytest.importorskip("pythia8mc")
    out = tmp_path / "tiny.npz"
    flags = (f"--out={out}", "--minbias=2", "--ttbar=2", "--qcd=0")

    first, again = make_bank(*flags), make_bank(*flags)

    assert first.returncode == again.returncode == 0, first.stderr
    loaded = bank.load_bank(out)
    assert first.stdout == again.stdout
    for part in ("2 minbias, 2 ttbar", loaded.sha256, loaded.generator):
        assert part in first.stdout


def test_ctrl_c_ends_it_in_one_line_and_keeps_what_is_there(tmp_path):
    pytest.importorskip("pythia8mc")
    out = tmp_path / "large.npz"
    flags = [f"--out={out}", "--minbias=1", "--ttbar=0", "--qcd=100000", "--seed=3"]
    with subprocess.Popen([*COMMAND, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        while not list(tmp_path.glob("large.npz.pieces/qcd-*.npz")):
            assert run.poll() is None
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGINT)
        _, stderr = run.communicate()

    assert run.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("error: interrupted")
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], "--out"),
        (["--out=x.npz", "--ttbar=0", "--qcd=0"], "at least one hard process"),
        (["--out=x.npz", "--minbias=0"], "minbias"),
        (["--out=x.npz", "--seed=100"], "0 to 99"),
        (["--out=x.npz", "stray"], "stray"),
        (["--out=x.npz", "--higgs=3"], "higgs"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run_program, flags, reason):
    run = run_program("tools.make_bank", *flags)
    assert run.returncode == 2
    assert reason in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_without_pythia_the_cure_is_named(tmp_path):
    (tmp_path / "pythia8mc.py").write_text("raise ImportError('no library')")
    run = make_bank("--out=x.npz", PYTHONPATH=str(tmp_path))
    assert run.returncode == 2
    assert "pip install 'mlpf_jax[generate]'" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
