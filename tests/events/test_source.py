"""Missing events are simulated once and cached; the user's own events are checked."""

import contextlib
import errno
import json
import os
import pathlib
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from mlpf_jax.events import manifest as manifest_lib
from mlpf_jax.events import source, store, workers, writing
from mlpf_jax.simulation import bank as bank_lib

DIGEST_OF_8_QCD = "4db8cf42bcb60b4994c74bbf4064a1cff07c33c10e2867ad0b1c88fb0ae005b0"


@pytest.fixture(scope="session")
def shipped_bank():
    return bank_lib.load_bank()


@pytest.fixture
def simulated(monkeypatch, make_event, shipped_bank):
    """Replaces the simulation by a fast one; returns the list of its calls."""
    asked = []

    def simulate(bank, process, seed, index):
        asked.append((process, seed, index))
        return make_event(index % 5, seed)

    monkeypatch.setattr(workers.event_lib, "simulate", simulate)
    monkeypatch.setattr(bank_lib, "load_bank", lambda path=None: shipped_bank)
    return asked


def tree(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def given_store(folder, events, **provenance):
    origin = {"kind": "simulated", "process": "qcd", "seed": 1, "bank_sha256": "0" * 64}
    return writing.write_store(folder, events, origin | provenance)


def test_events_are_simulated_once_and_found_again(tmp_path, simulated):
    first = source.open_events("qcd", 60, data_dir=tmp_path, num_workers=1)
    assert first.num_events == 100  # whole shards
    assert simulated == [("qcd", 1, index) for index in range(100)]
    assert [path.name for path in tmp_path.iterdir()] == ["qcd-seed1-bank80b2b6b5"]

    simulated.clear()
    again = source.open_events("qcd", 90, data_dir=tmp_path, num_workers=1)

    assert not simulated
    assert again.manifest == first.manifest


def test_a_cache_is_extended(tmp_path, simulated):
    source.open_events("ttbar", 50, data_dir=tmp_path, num_workers=1)
    simulated.clear()

    extended = source.open_events("ttbar", 101, data_dir=tmp_path, num_workers=1)

    assert simulated == [("ttbar", 1, index) for index in range(50, 150)]
    assert extended.num_events == 150


def test_a_cache_of_more_events_is_left_as_it_is(tmp_path, simulated):
    source.open_events("qcd", 150, data_dir=tmp_path, num_workers=1)
    before = tree(tmp_path)

    source.open_events("qcd", 50, data_dir=tmp_path, num_workers=1)

    assert tree(tmp_path) == before


def test_seeds_do_not_share_a_cache(tmp_path, simulated):
    for seed in (1, 2):
        source.open_events("qcd", 50, data_dir=tmp_path, data_seed=seed, num_workers=1)

    assert len(list(tmp_path.iterdir())) == 2


def test_a_removed_shard_is_made_again(tmp_path, simulated):
    cache = source.open_events("qcd", 150, data_dir=tmp_path, num_workers=1).path
    before = tree(cache)
    for path in (cache / "shard-00001").iterdir():
        path.unlink()
    (cache / "shard-00001").rmdir()
    simulated.clear()

    source.open_events("qcd", 50, data_dir=tmp_path, num_workers=1)

    assert [index for _, _, index in simulated] == list(range(50, 100))
    assert tree(cache) == before


@pytest.mark.parametrize("stop_after", [0, 1, 49, 50, 51, 119])
def test_interrupted_and_repeated_ends_in_the_same_bytes(tmp_path, simulated, stop_after):
    source.simulate_store(tmp_path / "whole", "qcd", 120, seed=1, num_workers=1)

    def stop(done, wanted):
        assert wanted == 120
        if done == stop_after + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.simulate_store(
            tmp_path / "part", "qcd", 120, seed=1, num_workers=1, on_progress=stop
        )
    left = [path.name for path in (tmp_path / "part").iterdir()]
    assert sorted(left) == [f"shard-{number:05d}" for number in range(stop_after // 50)]

    source.simulate_store(tmp_path / "part", "qcd", 120, seed=1, num_workers=1)

    assert tree(tmp_path / "part") == tree(tmp_path / "whole")


def test_progress_includes_existing_events(tmp_path, simulated):
    source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1)
    seen = []

    source.simulate_store(
        tmp_path, "qcd", 60, seed=1, num_workers=1, on_progress=lambda *at: seen.append(at)
    )

    assert seen == [(done, 60) for done in range(51, 61)]


def test_a_set_that_ends_in_a_short_shard_is_extended(tmp_path, simulated):
    source.simulate_store(tmp_path, "qcd", 60, seed=1, num_workers=1)
    longer = source.simulate_store(tmp_path, "qcd", 70, seed=1, num_workers=1)

    assert longer.num_events == 70
    longer.verify()


def test_a_slow_writer_of_fewer_events_does_not_shorten_the_set(tmp_path, simulated):
    def overtake(done, wanted):
        if done == wanted == 50:
            source.simulate_store(tmp_path, "qcd", 100, seed=1, num_workers=1)

    slow = source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1, on_progress=overtake)

    assert slow.num_events == 100


def test_a_folder_of_another_origin_is_refused(tmp_path, simulated):
    source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1)

    with pytest.raises(ValueError, match="contains events of another origin"):
        source.simulate_store(tmp_path, "qcd", 50, seed=2, num_workers=1)


def test_a_manifest_that_lists_endless_events_is_refused(tmp_path, simulated):
    source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text())
    document["num_events"] = document["shards"][0]["num_events"] = 10**6
    path.write_text(json.dumps(document))

    with pytest.raises(ValueError, match="lists more events than its shards can have"):
        source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1)


def test_shards_of_another_origin_without_a_manifest_are_refused(tmp_path, simulated):
    source.simulate_store(tmp_path, "qcd", 50, seed=1, num_workers=1)
    (tmp_path / "manifest.json").unlink()

    with pytest.raises(ValueError, match="shard-00000 has another origin"):
        source.simulate_store(tmp_path, "ttbar", 50, seed=1, num_workers=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process": "minbias"}, "unknown process 'minbias': use one of ttbar, qcd"),
        ({"num_events": 0}, "number of events is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"num_workers": 0}, "number of workers is 0"),
    ],
)
def test_impossible_requests_for_simulation_are_refused(tmp_path, change, message):
    arguments = {"process": "qcd", "num_events": 1, "seed": 1, "num_workers": 1} | change

    with pytest.raises(ValueError, match=message):
        source.simulate_store(tmp_path / "new", **arguments)

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "origin", [{"kind": "imported"}, {"kind": "imported", "seed": 7}, {"seed": 1}]
)
def test_the_users_own_set_is_used_as_it_is(tmp_path, events, origin):
    given_store(tmp_path / "qcd", events, **origin)

    assert source.open_events("qcd", 4, data_dir=tmp_path).path == tmp_path / "qcd"


@pytest.mark.parametrize(
    ("origin", "asked", "message"),
    [
        (
            {},
            {"num_events": 6},
            r"contains 5 events, fewer than the requested 6: .*--events=6 --seed=1 --out=",
        ),
        ({"kind": "imported"}, {"num_events": 6}, "request fewer, or import more"),
        ({"seed": 2}, {}, "contains events of seed 2, not 1"),
        ({"process": "ttbar"}, {}, "contains ttbar events, not qcd"),
        ({}, {"bank": bank_lib.SHIPPED_BANK}, "from another bank than .*bank_4096.npz"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(tmp_path, events, origin, asked, message):
    given_store(tmp_path / "qcd", events, **origin)

    with pytest.raises(ValueError, match=message) as caught:
        source.open_events("qcd", **({"num_events": 5, "data_dir": tmp_path} | asked))

    assert "\n" not in str(caught.value)


def test_an_unfinished_set_is_not_passed_over(tmp_path, events):
    (given_store(tmp_path / "qcd", events).path / "manifest.json").unlink()

    with pytest.raises(ValueError, match="its creation was interrupted"):
        source.open_events("qcd", 5, data_dir=tmp_path)


def test_the_set_itself_in_place_of_its_folder_is_explained(tmp_path, events):
    given_store(tmp_path / "qcd", events)

    with pytest.raises(ValueError, match="is itself a set of events: give its parent folder"):
        source.open_events("qcd", 5, data_dir=tmp_path / "qcd")


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert source.default_data_dir() == pathlib.Path("/somewhere/mlpf_jax/events")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert source.default_data_dir() == pathlib.Path("/home/someone/.cache/mlpf_jax/events")


def test_two_workers_make_the_bytes_of_one(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(source, "SHARD_EVENTS", 4)
    one = source.simulate_store(tmp_path / "one", "qcd", 10, seed=1, num_workers=1)
    seen = []

    two = source.simulate_store(
        tmp_path / "two", "qcd", 10, seed=1, num_workers=2, on_progress=lambda *at: seen.append(at)
    )

    assert tree(two.path) == tree(one.path)
    assert seen == [(done, 10) for done in range(1, 11)]
    assert two.digest(8) == DIGEST_OF_8_QCD
    assert capfd.readouterr() == ("", "")  # the workers have nothing to say


def test_an_error_of_a_worker_is_raised_here(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SHARD_EVENTS", 1)
    bank = tmp_path / "bank.npz"
    bank.write_bytes(bank_lib.SHIPPED_BANK.read_bytes())

    def damage(done, wanted):
        raise AssertionError("nothing can be simulated")

    loaded = bank_lib.load_bank(bank)
    monkeypatch.setattr(bank_lib, "load_bank", lambda path: loaded)
    bank.write_bytes(b"nonsense")

    with pytest.raises(ValueError, match=f"{bank} is not a truth bank"):
        source.simulate_store(
            tmp_path / "set", "qcd", 2, seed=1, bank=bank, num_workers=2, on_progress=damage
        )

    assert not list((tmp_path / "set").iterdir())


def test_a_bank_that_changes_before_the_workers_read_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SHARD_EVENTS", 1)
    bank = tmp_path / "bank.npz"
    columns = dict(np.load(bank_lib.SHIPPED_BANK))
    np.savez(bank, **columns)
    loaded = bank_lib.load_bank(bank)
    monkeypatch.setattr(bank_lib, "load_bank", lambda path: loaded)
    np.savez(bank, **columns | {"qcd_pt": columns["qcd_pt"] + 1})

    with pytest.raises(ValueError, match=f"{bank} has changed since the simulation began"):
        source.simulate_store(tmp_path / "set", "qcd", 2, seed=1, bank=bank, num_workers=2)

    assert not list((tmp_path / "set").iterdir())


def test_the_death_of_a_worker_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SHARD_EVENTS", 2)
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda: started.append(start()) or started[-1])

    def kill(done, wanted):
        started[0].kill()
        started[1].kill()

    with pytest.raises(OSError, match=r"a simulation worker died \(exit status -9\)"):
        source.simulate_store(tmp_path / "set", "qcd", 8, seed=1, num_workers=2, on_progress=kill)

    opened = source.simulate_store(tmp_path / "set", "qcd", 8, seed=1, num_workers=2)
    assert opened.digest() == DIGEST_OF_8_QCD


def test_a_worker_whose_output_others_write_to_is_ended(tmp_path, monkeypatch):
    """As Python does at some sites, which greet their users when it starts."""
    (tmp_path / "sitecustomize.py").write_text("print('welcome')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(source, "SHARD_EVENTS", 1)

    with pytest.raises(OSError, match=r"a simulation worker died .* after the line 'welcome\\n'"):
        source.simulate_store(tmp_path / "set", "qcd", 2, seed=1, num_workers=2)


def test_workers_end_if_one_cannot_be_attended_to(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SHARD_EVENTS", 1)
    started, threads = [], []
    start, start_thread = workers._start, threading.Thread.start
    monkeypatch.setattr(workers, "_start", lambda: started.append(start()) or started[-1])

    def start_one(thread):
        if threads:
            raise RuntimeError("can't start new thread")
        threads.append(thread)
        start_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        source.simulate_store(tmp_path / "set", "qcd", 20, seed=1, num_workers=2)

    assert [worker.returncode is None for worker in started] == [False, False]
    assert not threads[0].is_alive()


def test_interrupting_ends_the_workers_and_leaves_whole_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SHARD_EVENTS", 2)
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda: started.append(start()) or started[-1])

    def interrupt(done, wanted):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.simulate_store(
            tmp_path / "set", "qcd", 8, seed=1, num_workers=2, on_progress=interrupt
        )

    assert all(worker.returncode is not None for worker in started)
    for path in (tmp_path / "set").iterdir():
        assert manifest_lib.read_shard(path)[0].num_events == 2


def test_a_worker_ends_with_its_parent(tmp_path):
    worker = workers._start()
    origin = {"process": "qcd", "seed": 1, "bank_sha256": bank_lib.SHIPPED_SHA256}
    job = workers.Job(folder=str(tmp_path), bank=None, provenance=origin)
    task = workers.Task(name="shard-00000", first=0, num_events=1000)

    with contextlib.suppress(BrokenPipeError), worker:
        workers._send(worker, job)
        workers._send(worker, task)
        assert worker.stdout
        assert json.loads(worker.stdout.readline()) == ["event"]
        worker.stdout.close()

    assert worker.returncode == 1
    assert not list(tmp_path.iterdir())


def test_making_events_needs_no_jax():
    program = "import sys, mlpf_jax.events.source; sys.exit('jax' in sys.modules)"
    root = pathlib.Path(store.__file__).parents[2]

    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


@pytest.mark.parametrize(
    ("num_cores", "free_gib", "num_workers"),
    [(8, 16.0, 8), (8, 1.0, 4), (8, 0.1, 1), (8, None, 8), (1, 16.0, 1)],
)
def test_there_are_no_more_workers_than_cores_and_memory_allow(
    monkeypatch, num_cores, free_gib, num_workers
):
    free = None if free_gib is None else int(free_gib * 2**30)
    monkeypatch.setattr(source.slot, "num_cores", lambda: num_cores)
    monkeypatch.setattr(source.slot, "free_memory_bytes", lambda: free)

    assert source._default_workers() == num_workers


def test_too_small_a_disk_is_reported_before_any_event(full_disk):
    with pytest.raises(OSError, match=r"50 events take 0\.03 GB, and 0\.00 GB are free: make"):
        source.open_events("qcd", 5, data_dir=full_disk)

    assert not [path for path in full_disk.rglob("*") if path.is_file()]


def test_so_many_events_that_their_plan_would_fill_the_memory_are_refused(tmp_path):
    with pytest.raises(OSError, match=r"10000000000000 events take 5350000000\.00 GB"):
        source.open_events("qcd", 10**13, data_dir=tmp_path)


def test_an_empty_cache_is_filled_where_folders_cannot_be_synced(tmp_path, monkeypatch):
    """As on CIFS, and on some file systems by FUSE."""
    fsync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(source, "SHARD_EVENTS", 1)

    assert source.open_events("qcd", 1, data_dir=tmp_path, num_workers=1).num_events == 1
