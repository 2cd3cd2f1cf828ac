"""A bank has the same bytes after interruptions and for any number of processes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from mlpf_jax.simulation import bank_making, event, generator

PLAN = bank_making.BankPlan(num_events={"minbias": 7, "ttbar": 4}, seed=5)
# One piece of pile-up only, and last: Pythia takes seconds to start for it.
REAL_PLAN = bank_making.BankPlan(num_events={"ttbar": 4, "minbias": 2}, seed=5)
KILLED_AFTER_A_PIECE = """
import os, signal, sys, pathlib
from mlpf_jax.simulation import bank_making

def die(done, wanted):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    bank_making.PIECE_EVENTS = 3
    plan = bank_making.BankPlan(num_events={"ttbar": 4, "minbias": 2}, seed=5)
    bank_making.make_bank(pathlib.Path(sys.argv[1]), plan, num_workers=2, on_progress=die)
"""


@pytest.fixture
def fake_pythia(monkeypatch, truth):
    """Collisions without Pythia: a seed's are always the same. Counts what is generated."""
    generated = []

    class FakeGenerator(generator.Generator):
        def __init__(self, process):
            self.process = process

        def generate(self, seeds):
            generated.extend((self.process, seed) for seed in seeds)
            rng = np.random.default_rng(seeds[0])
            number = rng.integers(0, len(truth.particles), 3 * len(seeds))
            offsets = 3 * np.arange(len(seeds) + 1)
            return type(truth)(particles=truth.particles.take(number), offsets=offsets)

    bank_making._generator.cache_clear()
    monkeypatch.setattr(generator, "Generator", FakeGenerator)
    monkeypatch.setattr(generator, "version", lambda: "Fake 1")
    monkeypatch.setattr(bank_making, "PIECE_EVENTS", 3)
    yield generated
    bank_making._generator.cache_clear()


def interrupt_after(num_pieces):
    calls = []

    def on_progress(done, wanted):
        calls.append(done)
        if len(calls) == num_pieces:
            raise KeyboardInterrupt

    return on_progress


def test_every_collision_is_generated_once(fake_pythia, tmp_path):
    made = bank_making.make_bank(tmp_path / "bank.npz", PLAN)
    assert len(fake_pythia) == len(set(fake_pythia)) == 11
    assert made.events("minbias").num_events == 7
    assert made.events("ttbar").num_events == 4
    assert [path.name for path in tmp_path.iterdir()] == ["bank.npz"], "no pieces are left"


def test_the_bank_says_what_made_it(fake_pythia, tmp_path):
    made = bank_making.make_bank(tmp_path / "bank.npz", PLAN)
    assert made.generator == "Fake 1"
    assert made.provenance == PLAN.provenance()
    assert made.provenance["settings_sha256"] == generator.settings_sha256()
    assert made.provenance["first_seeds"]["ttbar"] == generator.first_seed("ttbar", 5)


def test_an_interrupted_bank_goes_on_and_has_the_same_bytes(fake_pythia, tmp_path):
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    bank_making.make_bank(whole, PLAN)
    for num_pieces in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            bank_making.make_bank(broken, PLAN, on_progress=interrupt_after(num_pieces))
        assert not broken.exists()
    fake_pythia.clear()
    bank_making.make_bank(broken, PLAN)
    assert len(fake_pythia) == 4, "seven of eleven collisions were there"
    assert broken.read_bytes() == whole.read_bytes()


def test_progress_includes_existing_collisions(fake_pythia, tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        bank_making.make_bank(tmp_path / "b.npz", PLAN, on_progress=interrupt_after(2))
    bank_making.make_bank(tmp_path / "b.npz", PLAN, on_progress=lambda *c: calls.append(c))
    assert calls == [(7, 11), (10, 11), (11, 11)]


def test_an_existing_bank_is_not_made_again(fake_pythia, tmp_path):
    made = bank_making.make_bank(tmp_path / "bank.npz", PLAN)
    fake_pythia.clear()
    assert bank_making.make_bank(tmp_path / "bank.npz", PLAN).sha256 == made.sha256
    assert not fake_pythia


def test_another_bank_is_not_overwritten(fake_pythia, tmp_path):
    bank_making.make_bank(tmp_path / "bank.npz", PLAN)
    other = bank_making.BankPlan(num_events=PLAN.num_events, seed=6)
    with pytest.raises(ValueError, match="a different bank"):
        bank_making.make_bank(tmp_path / "bank.npz", other)


def test_pieces_of_another_bank_are_not_used(fake_pythia, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bank_making.make_bank(tmp_path / "b.npz", PLAN, on_progress=interrupt_after(1))
    other = bank_making.BankPlan(num_events=PLAN.num_events, seed=6)
    with pytest.raises(ValueError, match=r"b\.npz\.pieces has pieces of another bank"):
        bank_making.make_bank(tmp_path / "b.npz", other)


def test_a_damaged_piece_is_named_and_made_again(fake_pythia, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bank_making.make_bank(tmp_path / "b.npz", PLAN, on_progress=interrupt_after(1))
    piece = tmp_path / "b.npz.pieces" / "minbias-0000000-3.npz"
    piece.write_bytes(piece.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"minbias-0000000-3\.npz was damaged and has been removed"):
        bank_making.make_bank(tmp_path / "b.npz", PLAN)
    made = bank_making.make_bank(tmp_path / "b.npz", PLAN)
    assert made.sha256 == bank_making.make_bank(tmp_path / "whole.npz", PLAN).sha256


def test_two_makers_of_one_bank_do_not_meet(fake_pythia, tmp_path):
    def second_maker(done, wanted):
        bank_making.make_bank(tmp_path / "b.npz", PLAN)

    with pytest.raises(OSError, match="another process is working"):
        bank_making.make_bank(tmp_path / "b.npz", PLAN, on_progress=second_maker)


def test_more_may_be_generated_than_is_kept(fake_pythia, tmp_path):
    plan = bank_making.BankPlan(num_events={"minbias": 7, "ttbar": 4}, generated_per_kept=5)
    made = bank_making.make_bank(tmp_path / "bank.npz", plan)
    assert len(fake_pythia) == 55
    assert made.events("minbias").num_events == 7


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_events": {"minbias": 5}}, "at least one hard process"),
        ({"num_events": {"ttbar": 5}}, "needs minbias"),
        ({"num_events": {"minbias": 5, "higgs": 5}}, "unknown process 'higgs'"),
        ({"num_events": {"minbias": 0, "ttbar": 5}}, "must be 1 to"),
        ({"num_events": {"minbias": 1 << 22, "ttbar": 5}}, "must be 1 to 3000000"),
        ({"num_events": PLAN.num_events, "seed": 100}, "0 to 99"),
    ],
)
def test_impossible_plans_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        bank_making.BankPlan(**settings)


@pytest.mark.slow
def test_a_real_bank_survives_a_kill_and_does_not_depend_on_workers(tmp_path, monkeypatch):
    pytest.importorskip("pythia8mc")
    monkeypatch.setattr(bank_making, "PIECE_EVENTS", 3)
    killed, whole = tmp_path / "killed.npz", tmp_path / "whole.npz"
    script = tmp_path / "make.py"
    script.write_text(KILLED_AFTER_A_PIECE)
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, str(script), str(killed)],
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert run.returncode == -signal.SIGKILL
    assert not killed.exists()
    assert list(tmp_path.glob("killed.npz.pieces/*.npz"))

    bank_making.make_bank(killed, REAL_PLAN, num_workers=2)
    made = bank_making.make_bank(whole, REAL_PLAN)

    assert killed.read_bytes() == whole.read_bytes()
    assert made.generator == generator.version()
    simulated = event.simulate(made, "ttbar", 1, 0)
    assert len(simulated.elements) > 1000
