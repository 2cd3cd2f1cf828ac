"""Contenders run alternately in separate processes; failures are reported and tolerated."""

import json
import re

import pytest

from benchmarks.peers import contender, processes, rounds

LOCKS = sorted((processes.ROOT / "benchmarks" / "peers" / "locks").glob("*.txt"))


def plan(names=("jax", "pytorch-eager"), num_rounds=2):
    return rounds.Plan(
        names=names,
        num_rounds=num_rounds,
        num_samples=3,
        shortest_sample_s=1.0,
        num_threads=2,
        timeout_s=10.0,
    )


@pytest.fixture
def order(monkeypatch):
    """The names in the order in which they ran; nothing is started."""
    ran = []

    def run(name, module, arguments, variables, timeout_s):
        ran.append(name)
        job = json.loads(arguments[0])
        if name == "tensorflow-xla":
            raise RuntimeError("tensorflow-xla failed with status -9:")
        return f"chatter\n{json.dumps({'name': name, 'num_threads': job['num_threads']})}\n"

    monkeypatch.setattr(processes, "run", run)
    return ran


def test_the_order_of_the_contenders_is_turned_around_every_round(order, tmp_path):
    outcome = rounds.run(plan(num_rounds=3), tmp_path, lambda line: None)

    assert order == ["jax", "pytorch-eager", "pytorch-eager", "jax", "jax", "pytorch-eager"]
    assert [run["round"] for run in outcome.runs] == [1, 1, 2, 2, 3, 3]
    assert {run["num_threads"] for run in outcome.runs} == {2}


def test_a_contender_that_fails_is_left_out_from_then_on(order, tmp_path):
    outcome = rounds.run(plan(("jax", "tensorflow-xla")), tmp_path, lambda line: None)

    assert order == ["jax", "tensorflow-xla", "jax"]
    assert list(outcome.failures) == ["tensorflow-xla"]


def test_ours_always_takes_part_and_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "interpreter", lambda name: None)
    names = tuple(contender.ENTRIES)

    assert rounds.names_of(["tensorflow-xla"], names, "jax") == ("jax", "tensorflow-xla")

    monkeypatch.undo()
    with pytest.raises(ValueError, match="unknown contender mxnet"):
        rounds.names_of(["mxnet"], names, "jax")


def test_a_missing_environment_names_the_command_that_makes_it(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "ROOT", tmp_path)

    with pytest.raises(ValueError, match=r"\.peers/pytorch yet: run `make peers`"):
        processes.interpreter("pytorch-eager")


def test_a_process_that_fails_shows_its_last_lines():
    with pytest.raises(RuntimeError, match=r"No module named .*no_such_module"):
        processes.run("jax", "benchmarks.peers.no_such_module", [], {}, timeout_s=60.0)


def test_a_process_that_takes_too_long_is_ended():
    with pytest.raises(RuntimeError, match="took longer than 0 s"):
        processes.run("jax", "timeit", ["-n", "1", "while True: pass"], {}, timeout_s=0.3)


def test_xlas_flags_reach_ours_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_only_new_versions_know_this")

    assert "XLA_FLAGS" in processes._environment("jax", {})
    assert "XLA_FLAGS" in processes._environment("jax-tight", {})
    assert "XLA_FLAGS" not in processes._environment("tensorflow-xla", {})


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--batch=0", "--batch_size=0: must be at least 1"),
        ("--contenders=mxnet", "unknown contender mxnet: use jax, jax-tight, pytorch-eager"),
    ],
)
def test_wrong_usage_of_the_comparison_is_one_line_and_exit_status_2(
    run_program, argument, complaint
):
    done = run_program("benchmarks.peers", argument)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_every_environment_has_a_lock_and_every_lock_an_environment():
    environments = {entry.environment for entry in contender.ENTRIES.values()} - {None}

    assert {path.stem for path in LOCKS} == environments


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_peers_lock_names_no_address_and_has_a_hash_for_every_pin(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    pins = [line for line in lines if not line.startswith("--hash=sha256:")]

    assert not re.search(r"://|^-|@", "\n".join(pins), re.MULTILINE)
    assert all(re.match(r"[a-z0-9.-]+==\S+ \\$", line) for line in pins)
    assert len(lines) >= 2 * len(pins)
