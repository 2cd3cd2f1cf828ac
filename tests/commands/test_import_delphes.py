"""The command's output for good, broken and hostile files."""

import functools
import os
import pathlib
import pickle

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from mlpf_jax.events import store
from tests import public_files

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run(run_program):
    return functools.partial(run_program, "mlpf_jax.commands.import_delphes")


@pytest.fixture
def events():
    """Two events of the types and classes of public ones."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=(9, width)).astype(np.float32)
        for name, width in store.NUM_FEATURES.items()
    }
    for array in arrays.values():
        array[:, 0] = 1
    return [store.Event(**arrays)] * 2


class Harmful:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_good_files_are_imported_and_bad_ones_reported(run, tmp_path, events):
    good = public_files.write_pickle(tmp_path / "tev14_pythia8_ttbar_0_0.pkl.bz2", events)
    shards = public_files.write_tfds(tmp_path, "1.1.0", {"test": [events]})
    hostile = tmp_path / "tev14_pythia8_ttbar_0_1.pkl"
    hostile.write_bytes(pickle.dumps(Harmful(tmp_path / "mark")))
    columns = public_files.columns(events)
    columns["ygen"][1] = columns["ygen"][1] * np.nan
    broken = tmp_path / "tev14_pythia8_qcd_10_0.pkl"
    broken.write_bytes(pickle.dumps(columns))

    imported = run(good, hostile, broken, *shards, f"--out={tmp_path / 'out'}", "--quiet")

    assert imported.returncode == 1
    assert sorted(imported.stderr.splitlines()) == [
        f"error: {broken}: event 1: ygen has nan in row 0, column 0: not a finite float32.",
        f"error: {hostile}: it asks for 'posix.mkdir': only NumPy arrays of numbers in plain "
        "containers are read.",
    ]
    assert not (tmp_path / "mark").exists()
    for process in ("ttbar", "qcd"):
        opened = store.open_store(tmp_path / "out" / process)
        assert opened.event_lengths.tolist() == [9, 9]
        assert f"{opened.path}: 2 {process} events, 18 elements" in imported.stdout
    assert "this is not the set of the talk: of its 9 shards" in imported.stdout


def test_good_files_alone_end_well(run, tmp_path, events):
    path = public_files.write_pickle(tmp_path / "anything.pkl", events)

    imported = run(path, f"--out={tmp_path / 'out'}", "--process=qcd")

    assert imported.returncode == 0, imported.stderr
    assert "importing: 1/1, anything.pkl" in imported.stderr
    assert store.open_store(tmp_path / "out/qcd").num_events == 2


def test_a_file_above_the_size_limit_is_reported(run, tmp_path):
    path = tmp_path / "tev14_pythia8_ttbar_0_0.pkl"
    path.write_bytes(pickle.dumps(bytes(1_100_000)))

    imported = run(path, f"--out={tmp_path / 'out'}", "--max_mb=1", "--quiet")

    assert imported.returncode == 1
    assert imported.stderr == f"error: {path}: it has more than 1000000 bytes when decompressed.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no files: give some"),
        (["missing.pkl"], "missing.pkl: no event files found"),
        (["anything.pkl"], "its name does not tell the process: say --process=ttbar or qcd"),
        (["anything.pkl", "--process=minbias"], "should be one of <ttbar|qcd>"),
        (["anything.pkl", "--max_mb=0"], "0 is not a positive integer"),
    ],
)
def test_wrong_usage_gets_one_line(run, tmp_path, words, message):
    (tmp_path / "anything.pkl").touch()

    imported = run(*(word.replace("anything", f"{tmp_path}/anything") for word in words), "--out=x")

    assert imported.returncode == 2
    assert message in imported.stderr
    assert imported.stderr.count("\n") == 1
    assert not (ROOT / "x").exists()
