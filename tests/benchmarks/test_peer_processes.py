"""Contenders are alive together in sets; failures are reported and tolerated."""

import contextlib
import re

import pytest

from benchmarks.peers import contender, processes, sets
from mlpf_jax import processes as processes_lib
from mlpf_jax.sides import driver

LOCKS = sorted((processes.ROOT / "benchmarks" / "peers" / "locks").glob("*.txt"))


def plan(names=("jax", "pytorch-eager", "tensorflow-xla"), **changes):
    settings = {"num_threads": 2, "timeout_s": 10.0, "budget_s": 100.0, "most_sets": 2}
    return sets.Plan(names=names, num_rounds=3, **settings | changes)


class Live(driver.Live):
    """A contender that is alive: `events` are what happened in order."""

    phases = ("training", "inference")

    def __init__(self, name, events, memory_bytes):
        self._name, self._events, self.memory_bytes = name, events, memory_bytes
        self.ready = {"start": {"name": name}}

    def run(self, phase, num_steps):
        self._events.append(self._name)
        if self._name == "dies":
            raise processes_lib.RunFailedError("dies: ended with exit status 1", ["last words"])
        return driver.Window(0.3 * num_steps, None)


@pytest.fixture
def events(monkeypatch):
    """What happens, in order: + and - a name that starts and ends, a name that runs a window."""
    happened = []

    @contextlib.contextmanager
    def starting(side):
        if side.name == "hangs":
            raise processes_lib.RunFailedError("hangs: killed after 10 s", ["waiting"])
        happened.append(f"+{side.name}")
        yield lambda: Live(side.name, happened, 2**30)
        happened.append(f"-{side.name}")

    monkeypatch.setattr(driver, "starting", starting)
    monkeypatch.setattr(processes, "interpreter", lambda name: "python")
    monkeypatch.setattr(sets.slot, "free_memory_bytes", lambda: 2**40)
    return happened


def run(tmp_path, given, is_enough=lambda outcome: False, **options):
    return sets.run(given, tmp_path, lambda line: None, is_enough, **options)


def test_every_contender_starts_alone_and_then_all_are_alive_together(events, tmp_path):
    outcome = run(tmp_path, plan())

    assert events[:6] == [f"{sign}{name}" for name in plan().names for sign in "+-"]
    assert events[6:9] == ["+jax", "+pytorch-eager", "+tensorflow-xla"]
    assert [start["set"] for start in outcome.starts] == [0] * 3 + [1] * 3 + [2] * 3
    assert len(outcome.sets) == 2
    ((windows,),) = (
        {tuple(group["training"].windows) for group in one} for one in outcome.sets[:1]
    )
    assert windows == plan().names


def test_on_a_gpu_no_time_is_spent_on_starts_alone(events, tmp_path):
    outcome = run(tmp_path, plan(device="gpu", most_sets=1))

    assert events[:3] == ["+jax", "+pytorch-eager", "+tensorflow-xla"]
    assert [start["set"] for start in outcome.starts] == [1] * 3


def test_where_memory_forbids_it_ours_is_alive_beside_one_other(events, tmp_path, monkeypatch):
    monkeypatch.setattr(sets.slot, "free_memory_bytes", lambda: 3 * 2**30)

    outcome = run(tmp_path, plan(most_sets=1))

    assert outcome.groups == (("jax", "pytorch-eager"), ("jax", "tensorflow-xla"))
    assert len(outcome.sets[0]) == 2


@pytest.mark.parametrize(("name", "words"), [("hangs", "waiting"), ("dies", "last words")])
def test_a_contender_that_fails_is_left_out_with_its_last_words(events, tmp_path, name, words):
    outcome = run(tmp_path, plan(("jax", "pytorch-eager", name)))

    assert list(outcome.failures) == [name]
    assert outcome.failures[name].endswith(f"\n{words}")
    assert len(outcome.sets) == 2
    assert set(outcome.sets[-1][0]["training"].windows) == {"jax", "pytorch-eager"}


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            [
                '  File "x.py", line 3, in get_cc',
                "torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler.",
                "",
                "Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace",
            ],
            "ended with exit status 1: torch._inductor.exc.InductorError: RuntimeError: Failed to "
            "find C compiler.",
        ),
        (["error: a loss is not finite"], "ended with exit status 1: error: a loss is not finite"),
        ([], "ended with exit status 1"),
    ],
)
def test_the_cause_of_a_failure_is_the_error_and_not_the_advice_below_it(lines, cause):
    told = "\n".join(["pytorch-compile: ended with exit status 1", *lines])

    assert sets.cause(told) == cause


def test_without_ours_or_without_a_peer_there_is_no_set(events, tmp_path):
    assert run(tmp_path, plan(("jax", "hangs"))).sets == ()


def test_it_ends_when_it_is_enough_or_the_budget_is_over(events, tmp_path):
    now = iter(range(0, 1000, 30))
    enough = run(tmp_path, plan(most_sets=9), lambda outcome: len(outcome.sets) == 3)
    in_time = run(tmp_path, plan(most_sets=9), clock=lambda: next(now))

    assert len(enough.sets) == 3
    assert len(in_time.sets) == 1


def test_ours_always_takes_part_and_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "interpreter", lambda name: None)
    names = tuple(contender.ENTRIES)

    assert sets.names_of(["tensorflow-xla"], names, "jax") == ("jax", "tensorflow-xla")

    monkeypatch.undo()
    with pytest.raises(ValueError, match="unknown contender mxnet"):
        sets.names_of(["mxnet"], names, "jax")


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
