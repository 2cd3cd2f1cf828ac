"""Public files are read; other files are refused in a line that names file and event."""

import bz2
import json
import pickle

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from mlpf_jax.events import delphes, store
from mlpf_jax.simulation import bank as bank_lib
from mlpf_jax.simulation import event as event_lib
from tests import public_files


@pytest.fixture(scope="module")
def simulated():
    """Three events as the detector makes them."""
    bank = bank_lib.load_bank()
    return [event_lib.simulate(bank, "ttbar", 1, index) for index in range(3)]


def small(events):
    """The first rows of events that have any."""
    return [
        store.Event(**{name: getattr(event, name)[:20] for name in store.NUM_FEATURES})
        for event in events
    ]


def assert_same(found, events):
    assert len(found) == len(events)
    for one, other in zip(found, events, strict=True):
        for name in store.NUM_FEATURES:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("suffix", [".pkl", ".pkl.bz2"])
def test_a_zenodo_file_is_read(tmp_path, simulated, protocol, suffix):
    path = tmp_path / f"tev14_pythia8_ttbar_0_0{suffix}"
    events = simulated[:1] if suffix == ".pkl.bz2" else simulated

    assert_same(
        delphes.read_events(public_files.write_pickle(path, events, protocol=protocol)), events
    )


def test_a_zenodo_file_of_plain_lists_is_read(tmp_path, simulated):
    columns = public_files.columns(small(simulated))
    lists = {name: [array.tolist() for array in arrays] for name, arrays in columns.items()}
    path = tmp_path / "tev14_pythia8_qcd_10_0.pkl"
    path.write_bytes(pickle.dumps(lists | {"ygen_remaining": [[]] * 3}))

    assert_same(delphes.read_events(path), small(simulated))


@pytest.mark.parametrize("version", ["1.0.1", "1.1.0"])
def test_a_tfds_shard_is_read(tmp_path, simulated, version):
    (path,) = public_files.write_tfds(tmp_path, version, {"test": [simulated]})

    assert_same(delphes.read_events(path), simulated)


def test_an_event_longer_than_the_padding_was_cut_when_it_was_made(tmp_path, simulated):
    long = store.Event(
        **{name: np.tile(getattr(simulated[0], name), (2, 1)) for name in store.NUM_FEATURES}
    )
    (path,) = public_files.write_tfds(tmp_path, "1.0.1", {"train": [[long]]})

    (found,) = delphes.read_events(path)

    np.testing.assert_array_equal(found.elements, long.elements[:6400])


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("tev14_pythia8_ttbar_0_49.pkl.bz2", "ttbar"),
        ("tev14_pythia8_qcd_10_3.pkl", "qcd"),
        ("delphes_pf-train.tfrecord-00003-of-00008", "ttbar"),
        ("delphes_pf-test.tfrecord-00000-of-00001", "qcd"),
    ],
)
def test_the_name_tells_the_process(tmp_path, name, process):
    assert delphes.process_of(tmp_path / name) == process


@pytest.mark.parametrize("name", ["events.pkl", "cms_pf-train.tfrecord-00000-of-00001", "qcd"])
def test_other_names_give_no_process(tmp_path, name):
    with pytest.raises(ValueError, match="its name does not tell the process: say --process"):
        delphes.process_of(tmp_path / name)


def write(name, content):
    def writer(folder, events):
        path = folder / name
        path.write_bytes(content)
        return path

    return writer


def dump(content):
    return write("file.pkl", pickle.dumps(content))


def spoiled(event, name, row, value):
    """A file with one changed number in one event."""

    def writer(folder, events):
        columns = public_files.columns(events)
        columns[name][event][row, 3] = value
        return dump(columns)(folder, events)

    return writer


def changed(suffix, change):
    """A file with changed bytes."""

    def writer(folder, events):
        if suffix == ".tfrecord":
            (path,) = public_files.write_tfds(folder, "1.1.0", {"test": [events]})
        else:
            path = public_files.write_pickle(folder / f"file{suffix}", events)
        path.write_bytes(change(path.read_bytes()))
        return path

    return writer


def half(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def flip_last(content):
    """Damages the checksum at the end: all the data come out as they were."""
    return content[:-3] + bytes([content[-3] ^ 16]) + content[-2:]


def repeat_one_array(folder, events):
    """A small file that repeats the same array many times."""
    columns = public_files.columns(events)
    return dump({name: arrays[:1] * 1000 for name, arrays in columns.items()})(folder, events)


def shard_of_other_features(folder, events):
    record = public_files.frame(public_files.example({"X": np.zeros(24), "ygen": np.zeros(14)}))
    return write("delphes_pf-test.tfrecord-00000-of-00001", record)(folder, events)


def shard_of_other_widths(folder, events):
    arrays = {"X": np.zeros(24), "ygen": np.zeros(12), "ycand": np.zeros(14)}
    record = public_files.frame(public_files.example(arrays))
    return write("delphes_pf-test.tfrecord-00000-of-00001", record)(folder, events)


def with_info(change):
    """A shard next to a dataset_info.json with another number of events."""

    def writer(folder, events):
        (path,) = public_files.write_tfds(folder, "1.1.0", {"test": [events]})
        info = path.with_name("dataset_info.json")
        info.write_text(json.dumps(change(json.loads(info.read_text()))))
        return path

    return writer


def with_info_of(text):
    """A shard next to a dataset_info.json with this text."""

    def writer(folder, events):
        (path,) = public_files.write_tfds(folder, "1.1.0", {"test": [events]})
        path.with_name("dataset_info.json").write_text(text)
        return path

    return writer


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (write("file.pkl", b""), "it is empty"),
        (write("file.pkl.bz2", b""), "it is empty"),
        (write("delphes_pf-test.tfrecord-00000-of-00001", b""), "it is empty"),
        (write("file.pkl", b"version https://git-lfs.github.com/spec/v1\n"), "it "),
        (write("x.tfrecord", b"version https://git-lfs.github.com/spec/v1\n"), "event 0: "),
        (changed(".pkl", half), "it is not a complete pickle|it contains an array"),
        (changed(".pkl.bz2", half), "it is not a complete pickle: Compressed file ended"),
        (changed(".pkl.bz2", flip), "it is not a complete pickle|it is not a complete bz2 file"),
        (changed(".pkl.bz2", flip_last), "it is not a complete bz2 file: Invalid data stream"),
        (changed(".pkl", lambda content: content + b"x"), "there are bytes after its end"),
        (changed(".tfrecord", half), "event 1: its record is truncated"),
        (changed(".tfrecord", flip), "event 1: its record is damaged"),
        (
            changed(".tfrecord", lambda content: content[: len(content) // 3]),
            "contains 1 events, but",
        ),
        (dump([]), "it does not contain the lists X, ygen, ycand"),
        (dump({"X": [], "ygen": []}), "it does not contain the lists X, ygen, ycand"),
        (dump({"X": (), "ygen": [], "ycand": []}), "it does not contain the lists X, ygen, ycand"),
        (dump({"X": [], "ygen": [], "ycand": []}), "it contains no events"),
        (dump({"X": [1], "ygen": [], "ycand": []}), "its lists differ in length: {'X': 1, 'y"),
        (dump({"X": [1], "ygen": [1], "ycand": [1]}), "event 0: X is not an array of numbers"),
        (dump({"X": [print], "ygen": [1], "ycand": [1]}), "it asks for 'builtins.print'"),
        (spoiled(1, "X", 7, np.nan), "event 1: X has nan in row 7, column 3"),
        (spoiled(2, "ygen", 0, np.inf), "event 2: ygen has inf in row 0, column 3"),
        (repeat_one_array, "event 480: the events up to here exceed 1000000 bytes"),
        (write("file.pkl.bz2", bz2.compress(pickle.dumps(bytes(2 * 10**6)))), "has more than"),
        (shard_of_other_features, "event 0: it has no list of numbers 'ycand'"),
        (shard_of_other_widths, r"event 0: ygen has the shape \(2, 6\), not"),
        (with_info(lambda info: info | {"splits": []}), "does not give its number of events"),
        (with_info(lambda info: []), "does not give its number of events"),
        (with_info_of('{"splits": [{"name": "test", "shardLengths": [1e999]}]}'), "does not give"),
        (with_info_of("[" * 10**5), "does not give"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, simulated, writer, message):
    path = writer(tmp_path, small(simulated))

    with pytest.raises(ValueError, match=message) as caught:
        delphes.read_events(path, max_bytes=10**6)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
