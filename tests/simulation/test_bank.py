"""The shipped bank is sound, and a bad file is refused in one line that names it."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from mlpf_jax.simulation import bank, encoding, npz, species


@pytest.fixture
def columns(truth):
    encoded = encoding.encode(truth).columns
    return {f"{p}_{k}": v for p in ("minbias", "ttbar") for k, v in encoded.items()}


@pytest.fixture
def write(tmp_path):
    def write(columns):
        path = tmp_path / "bank.npz"
        np.savez_compressed(path, **columns)
        return path

    return write


def refusal(path):
    with pytest.raises(ValueError, match="not a truth bank") as error:
        bank.load_bank(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_the_shipped_bank_has_all_processes(shipped_bank):
    assert shipped_bank.sha256 == bank.SHIPPED_SHA256
    assert shipped_bank.generator == "Pythia 8.317"
    counts = {name: shipped_bank.events(name).num_events for name in shipped_bank.truth}
    assert counts == {"minbias": 4096, "ttbar": 512, "qcd": 256}


def test_every_particle_of_the_shipped_bank_is_on_its_mass_shell(shipped_bank):
    mass = dict(zip(species.PDG_ID.tolist(), species.MASS_GEV.tolist(), strict=True))
    for name in shipped_bank.truth:
        p = shipped_bank.events(name).particles
        squared = p.energy**2 - p.px**2 - p.py**2 - p.pz**2
        expected = np.array([mass[code] for code in p.pdg_id.tolist()]) ** 2
        np.testing.assert_allclose(squared, expected, atol=1e-12 * (p.energy**2).max())


def test_charge_is_that_of_the_species(shipped_bank):
    p = shipped_bank.events("minbias").particles
    for code, charge in ((211, 1), (-211, -1), (11, -1), (-11, 1), (3112, -1), (3122, 0)):
        assert set(p.charge[p.pdg_id == code].tolist()) == {charge}


def test_the_content_of_a_file_is_read_back(truth, tmp_path):
    path = tmp_path / "bank.npz"
    encoded = encoding.encode(truth)
    path.write_bytes(bank.file_content({"minbias": encoded, "qcd": encoded}, {"generator": "X"}))
    loaded = bank.load_bank(path)
    assert loaded.generator == "X"
    assert sorted(loaded.truth) == ["minbias", "qcd"]
    np.testing.assert_array_equal(loaded.events("qcd").offsets, truth.offsets)


def test_provenance_reaches_whoever_loads_the_bank(columns, write):
    provenance = {"generator": "Pythia 9.9", "seed": 3}
    path = write(columns | {"provenance": np.array(json.dumps(provenance))})
    loaded = bank.load_bank(path)
    assert loaded.generator == "Pythia 9.9"
    assert loaded.provenance == provenance


def test_a_bank_without_provenance_is_of_unknown_generator(columns, write):
    assert bank.load_bank(write(columns)).generator == "unknown"


def test_an_unknown_process_is_named_with_those_that_exist(columns, write):
    with pytest.raises(ValueError, match="no process 'qcd'; it has minbias, ttbar"):
        bank.load_bank(write(columns)).events("qcd")


def test_an_altered_shipped_bank_is_refused(tmp_path, monkeypatch):
    content = bytearray(bank.SHIPPED_BANK.read_bytes())
    content[1000] ^= 1
    altered = tmp_path / "bank_4096.npz"
    altered.write_bytes(content)
    monkeypatch.setattr(bank, "SHIPPED_BANK", altered)
    with pytest.raises(ValueError, match="damaged"):
        bank.load_bank()


def test_a_small_bank_that_unpacks_to_much_is_refused(columns, write, monkeypatch):
    path = write(columns | {"zeros": np.zeros(10**6)})
    monkeypatch.setattr(npz, "MOST_BYTES", 10**6)

    assert "bytes, more than 1000000" in refusal(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"minbias_v": None}, "column minbias_v is missing"),
        ({"ttbar_pt": np.zeros(10)}, "in ttbar, the column pt has the type <f8"),
        ({"ttbar_phi": np.zeros(9, np.uint16)}, "differ in length"),
        ({"ttbar_code": np.full(10, 27, np.uint8)}, "unknown species"),
        ({"ttbar_n": np.array([4, 5, 2], np.uint16)}, "differ in length"),
        ({"ttbar_n": np.zeros(0, np.uint16)}, "in ttbar, the columns differ in length"),
        ({"ttbar_vi": np.array([10], np.uint32)}, "vertices"),
        ({"ttbar_v": np.full((1, 3), np.nan, np.float32)}, "not finite"),
        ({"provenance": np.array("[1]")}, "provenance"),
        ({"provenance": np.array("{")}, "Expecting"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, write, change, reason):
    changed = {k: v for k, v in (columns | change).items() if v is not None}
    assert reason in refusal(write(changed))


def test_a_bank_without_pileup_is_refused(columns, write):
    assert "minbias" in refusal(write({k: v for k, v in columns.items() if "ttbar" in k}))


def test_pickled_columns_are_refused_without_being_read(columns, tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("hacked").touch, ())

    path = tmp_path / "bank.npz"
    np.savez(path, **columns, extra=np.array([Payload()], object))
    refusal(path)
    path.write_bytes(pickle.dumps(Payload()))
    refusal(path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x93NUMPY\x01\x00"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "bank.npz"
    path.write_bytes(content)
    refusal(path)


def test_damaged_files_are_refused_or_read_but_never_crash(columns, tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    whole, path = buffer.getvalue(), tmp_path / "bank.npz"
    rng = np.random.default_rng(1)
    num_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged[: rng.integers(len(whole))] if rng.random() < 0.2 else damaged)
        try:
            bank.load_bank(path)
        except ValueError:
            num_refused += 1
    assert num_refused > 150


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bank.load_bank(tmp_path / "nowhere.npz")


def test_the_shipped_file_has_no_pickles():
    with zipfile.ZipFile(bank.SHIPPED_BANK) as archive:
        for name in archive.namelist():
            assert b"'descr': '|O'" not in archive.read(name)[:128]


def test_a_file_larger_than_its_arrays_may_be_is_refused_unread(tmp_path):
    path = tmp_path / "bank.npz"
    path.touch()
    os.truncate(path, npz.MOST_BYTES + 1)

    assert "more than 4294967296 bytes" in refusal(path)
