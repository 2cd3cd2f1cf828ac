"""Sets are written atomically per process; a broken file does not affect others."""

import hashlib
import pathlib
import re

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from mlpf_jax.events import importing, source, store, writing
from tests import public_files


@pytest.fixture
def public_events(make_event):
    """Makes events with given numbers of rows and the types and classes of public events."""

    def make(lengths):
        events = [make_event(length, seed) for seed, length in enumerate(lengths)]
        for event in events:
            event.elements[:, 0], event.targets[:, 0], event.candidates[:, 0] = 1, 2, 3
        return events

    return make


def content(events):
    return [
        [getattr(event, name).tobytes() for name in store.NUM_FEATURES]
        for event in (events.event(index) for index in range(events.num_events))
    ]


def test_files_of_both_processes_make_two_sets(tmp_path, public_events):
    one, two, three = public_events([3, 4]), public_events([5]), public_events([6, 7, 8])
    paths = [
        public_files.write_pickle(tmp_path / "tev14_pythia8_ttbar_0_0.pkl.bz2", one),
        public_files.write_pickle(tmp_path / "tev14_pythia8_qcd_10_0.pkl", two),
        public_files.write_pickle(tmp_path / "tev14_pythia8_ttbar_0_1.pkl", three),
    ]
    seen = []

    imported = importing.import_files(paths, tmp_path / "out", num_threads=2, on_file=seen.append)

    assert not imported.failures
    assert seen == [paths[0], paths[2], paths[1]]
    ttbar = source.open_events("ttbar", 5, data_dir=tmp_path / "out")
    assert ttbar.event_lengths.tolist() == [3, 4, 6, 7, 8]
    assert ttbar.event(4).elements.tobytes() == three[2].elements.tobytes()
    assert source.open_events("qcd", 1, data_dir=tmp_path / "out").num_events == 1
    assert [file["name"] for file in ttbar.provenance["files"]] == [paths[0].name, paths[2].name]
    assert ttbar.provenance["files"][0]["sha256"] == sha256(paths[0])
    ttbar.verify()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_imported_is_the_same_as_simulated(tmp_path):
    simulated = source.simulate_store(tmp_path / "simulated", "qcd", 2, seed=1, num_workers=1)
    events = [simulated.event(index) for index in range(2)]
    path = public_files.write_pickle(tmp_path / "tev14_pythia8_qcd_10_0.pkl", events)

    imported = importing.import_files([path], tmp_path / "out")

    assert imported.stores["qcd"].digest() == simulated.digest()


@pytest.mark.parametrize("version", ["1.0.1", "1.1.0"])
def test_a_tfds_folder_makes_two_sets(tmp_path, public_events, version):
    train = [public_events([30, 40]), public_events([50])]
    public_files.write_tfds(tmp_path, version, {"train": train, "test": [public_events([60])]})

    paths = importing.find_files([str(tmp_path / "delphes_pf" / version)])
    imported = importing.import_files(paths, tmp_path / "out")

    assert len(paths) == 3
    assert imported.stores["ttbar"].event_lengths.tolist() == [30, 40, 50]
    assert imported.stores["qcd"].event_lengths.tolist() == [60]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_broken_file_stops_no_other(tmp_path, public_events, num_threads):
    names = [f"tev14_pythia8_ttbar_0_{number}.pkl" for number in range(4)]
    paths = [public_files.write_pickle(tmp_path / name, public_events([3])) for name in names]
    paths[1].write_bytes(b"nonsense")
    paths[2].unlink()

    imported = importing.import_files(paths, tmp_path / "out", num_threads=num_threads)

    assert len(imported.failures) == 2
    assert imported.failures[0].startswith(f"{paths[1]}: it ")
    assert imported.failures[1] == f"{paths[2]}: No such file or directory."
    files = imported.stores["ttbar"].provenance["files"]
    assert [file["name"] for file in files] == [names[0], names[3]]
    assert imported.stores["ttbar"].num_events == 2


def test_an_empty_file_creates_no_set(tmp_path):
    path = tmp_path / "tev14_pythia8_ttbar_0_0.pkl"
    path.touch()

    imported = importing.import_files([path], tmp_path / "out")

    assert imported.failures == (f"{path}: it is empty.",)
    assert not imported.stores
    assert not list((tmp_path / "out").iterdir())


def test_an_existing_set_is_not_changed(tmp_path, public_events):
    path = public_files.write_pickle(tmp_path / "tev14_pythia8_ttbar_0_0.pkl", public_events([3]))
    (tmp_path / "out/ttbar").mkdir(parents=True)

    with pytest.raises(ValueError, match="ttbar exists: remove it, or choose another folder"):
        importing.import_files([path], tmp_path / "out")

    assert not list((tmp_path / "out/ttbar").iterdir())


def test_a_set_that_another_import_made_meanwhile_is_not_taken_for_its_own(tmp_path, public_events):
    one, two = (
        public_files.write_pickle(tmp_path / f"tev14_pythia8_qcd_10_{n}.pkl", public_events([n]))
        for n in (3, 4)
    )

    def overtake(path):
        importing.import_files([two], tmp_path / "out")

    with pytest.raises(ValueError, match="qcd was made by another process meanwhile"):
        importing.import_files([one], tmp_path / "out", on_file=overtake)

    assert store.open_store(tmp_path / "out/qcd").event_lengths.tolist() == [4]


def test_interrupted_it_leaves_nothing(tmp_path, public_events):
    paths = [
        public_files.write_pickle(
            tmp_path / f"tev14_pythia8_ttbar_0_{number}.pkl", public_events([3])
        )
        for number in range(2)
    ]

    def interrupt(path):
        if path == paths[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.import_files(paths, tmp_path / "out", on_file=interrupt)

    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_leaves_nothing(tmp_path, public_events, monkeypatch):
    path = public_files.write_pickle(tmp_path / "tev14_pythia8_ttbar_0_0.pkl", public_events([3]))

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_manifest", fail)
    with pytest.raises(OSError, match="No space left"):
        importing.import_files([path], tmp_path / "out")

    assert not list((tmp_path / "out").iterdir())


def test_files_are_taken_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 100, 0):
        (tmp_path / f"tev14_pythia8_ttbar_0_{number}.pkl.bz2").touch()
    (tmp_path / "readme.txt").touch()

    found = importing.find_files([str(tmp_path), str(tmp_path / "readme.txt")])

    numbers = [int(re.findall(r"\d+", path.name)[3]) for path in found[:-1]]
    assert numbers == [0, 9, 10, 100]
    assert found[-1].name == "readme.txt"


@pytest.mark.parametrize("name", ["", "missing"])
def test_missing_files_are_reported(tmp_path, name):
    with pytest.raises(ValueError, match="no event files found"):
        importing.find_files([str(tmp_path / name)])


@pytest.fixture
def published(tmp_path, public_events, monkeypatch):
    """A folder of shards that counts as the published delphes_pf 1.0.1."""
    train = [public_events([3]), public_events([4])]
    test = [public_events([5])]
    paths = public_files.write_tfds(tmp_path, "1.0.1", {"train": train, "test": test})
    shards = {path.name: {"sha256": sha256(path)} for path in paths}
    successor = {"other": {"sha256": "0" * 64}}
    monkeypatch.setattr(
        importing,
        "PUBLISHED",
        {"delphes_pf 1.0.1": {"shards": shards}, "delphes_pf 1.1.0": {"shards": successor}},
    )
    return paths


def test_the_set_of_the_talk_is_recognised(tmp_path, published):
    imported = importing.import_files(published, tmp_path / "out")

    assert imported.verdict == (
        "this is the set of the talk: all 3 shards of delphes_pf 1.0.1, as published."
    )
    files = imported.stores["qcd"].provenance["files"]
    assert [file["published"] for file in files] == ["delphes_pf 1.0.1"]


@pytest.mark.parametrize(("left_out", "kept"), [(0, 2), (2, 2)])
def test_a_part_is_not_the_set_of_the_talk(tmp_path, published, left_out, kept):
    paths = [path for number, path in enumerate(published) if number != left_out]

    imported = importing.import_files(paths, tmp_path / "out")

    assert imported.verdict.startswith("this is not the set of the talk: of its 3 shards")
    assert f"{kept} are here as published, with 0 other files" in imported.verdict


def test_a_shard_that_differs_is_not_of_the_set_of_the_talk(tmp_path, published, public_events):
    event = public_files.example(public_files.padded(public_events([9])[0]))
    published[0].write_bytes(public_files.frame(event))

    imported = importing.import_files(published, tmp_path / "out")

    assert "2 are here as published, with 1 other files" in imported.verdict


def test_the_published_hashes_are_those_of_the_pointers():
    """9 and 17 shards, whose bytes are those of 1100 + 100 padded and 2000 + 200 ragged events."""
    shards = {name: published["shards"].values() for name, published in importing.PUBLISHED.items()}

    sizes = {name: sum(shard["num_bytes"] for shard in of) for name, of in shards.items()}
    assert {name: len(of) for name, of in shards.items()} == {
        "delphes_pf 1.0.1": 9,
        "delphes_pf 1.1.0": 17,
    }
    assert sizes["delphes_pf 1.0.1"] == 1200 * 665_684
    assert sizes["delphes_pf 1.1.0"] == 1_127_511_088 + 112_120_000 + 2200 * 16
    assert importing.published_set("0" * 64) is None


def test_importing_keeps_the_numbers(tmp_path, public_events):
    events = public_events([3])
    events[0].elements[0, 1] = np.float32(0.1)
    path = public_files.write_pickle(tmp_path / "tev14_pythia8_qcd_10_0.pkl", events)

    imported = importing.import_files([pathlib.Path(path)], tmp_path / "out")

    assert imported.stores["qcd"].event(0).elements[0, 1] == np.float32(0.1)


def test_array_record_files_are_refused_by_name_and_not_left_out(tmp_path):
    for name in ("delphes_pf-train.tfrecord-00000-of-00001", "delphes_pf-test.array_record-0"):
        (tmp_path / name).touch()

    with pytest.raises(ValueError, match=r"test.array_record-0: array_record files cannot be read"):
        importing.find_files([str(tmp_path)])
