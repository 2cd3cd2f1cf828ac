"""Sides run windows in turns; one that dies, hangs or says nonsense ends it with its name."""

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlpf_jax import processes
from mlpf_jax.measure import load
from mlpf_jax.sides import driver

READY = {
    "protocol": 1,
    "identity": {"program": "x"},
    "memory_bytes": 1000,
    "events_per_step": 2,
    "phases": ["training"],
}
CALM, DISTURBED = ({"other_cores": cores, "stolen_cores": 0.0} for cores in (0.0, 0.5))


class Process(subprocess.Popen):
    """Says the given lines, and then is silent or ends."""

    def __init__(self, *answers, status=None):
        reading, writing = os.pipe()
        self.stdout, self._writing = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        for answer in answers:
            line = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
            self._writing.write(line)
        self._writing.flush()
        self.status = status
        if status is not None:
            self._writing.close()

        self.requests = []
        self.stdin = self

    def close(self):
        self.stdout.close()
        self._writing.close()

    def write(self, line):
        self.requests.append(json.loads(line))

    def flush(self):
        pass

    def wait(self, timeout=None):
        return self.status


@pytest.fixture
def start(tmp_path):
    """Returns a function that makes a started side named B of a fake process."""

    def started(*answers, status=None, limit_s=5.0, name="B"):
        log = tmp_path / "log.txt"
        log.write_text("first\nlast words\n")
        side = driver.Side(
            name=name, command=["x"], folder=tmp_path, environ={}, log=log, limit_s=limit_s
        )
        process = Process(*answers, status=status)
        stack.callback(process.close)
        return driver.Live(side, process), process

    with contextlib.ExitStack() as stack:
        yield started


def test_a_side_says_what_it_is_and_runs_what_it_is_asked_for(start):
    live, process = start(READY, {"seconds": 0.5, "load": CALM}, {"peak_bytes": 7})

    window = live.run("training", 3)

    assert (live.phases, live.memory_bytes, live.events_per_step) == (("training",), 1000, 2)
    assert window == driver.Window(0.5, load.Load(0.0, 0.0))
    assert live.peak_bytes() == 7
    assert process.requests == [{"run": "training", "steps": 3}, {"memory": True}]


@pytest.mark.parametrize("limit_s", [1e9, math.inf])
def test_a_side_may_take_any_time_to_answer(start, limit_s):
    live, _ = start(READY, limit_s=limit_s)

    assert live.phases == ("training",)


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        ([], 1, "B: ended with exit status 1"),
        ([READY], -9, "B: was ended by SIGKILL"),
        ([READY], 0, "B: ended too early"),
        ([READY], None, "B: killed after 0.05 s"),
        ([READY, b'{"seconds": 1'], None, "B: killed after 0.05 s"),
        ([READY, b"rubbish\n"], None, "B: said 'rubbish', which is no answer"),
        ([READY, b"\xff\xfe\n"], None, "B: said .*, which is no answer"),
        ([READY, b"[" * 1500 + b"\n"], None, "B: said .*, which is no answer"),
        ([READY, {"hours": 1}], None, "B: said .*, without seconds"),
        ([READY, {"seconds": -1.0}], None, "B: says that 1 steps took -1.0 s"),
        ([READY, {"seconds": 1.0, "load": 7}], None, "B: said 7, without other_cores"),
        ([READY, b"x" * 2**12], None, "B: said too much in one line"),
        ([READY | {"events_per_step": 0}], None, "B: says that a step takes 0 events"),
        ([READY | {"protocol": 2}], None, "B: speaks protocol 2, not 1"),
        ([READY | {"phases": None}], None, "B: said .*, without phases"),
    ],
)
def test_a_side_that_dies_hangs_or_says_nonsense_is_named_with_its_last_lines(
    start, monkeypatch, answers, status, words
):
    monkeypatch.setattr(driver, "_LONGEST_LINE", 2**11)
    with pytest.raises(processes.RunFailedError, match=words) as caught:
        start(*answers, status=status, limit_s=0.05)[0].run("training", 1)

    assert caught.value.last_lines == ("first", "last words")


def test_in_every_round_each_side_runs_one_window_in_random_order_and_of_the_same_steps(start):
    order = []

    class Fake(driver.Live):
        def __init__(self, name, step_s):
            self.name, self.step_s = name, step_s

        def run(self, phase, num_steps):
            order.append((self.name, num_steps))
            return driver.Window(self.step_s * num_steps, None)

    live = {name: Fake(name, step_s) for name, step_s in (("A", 0.04), ("B", 0.08), ("C", 0.16))}

    turns = driver.take_turns(live, "training", 20, random.Random(1))

    rounds = [order[i : i + 3] for i in range(6, len(order), 3)]
    assert len(rounds) == 20
    assert {tuple(sorted(one)) for one in rounds} == {(("A", 3), ("B", 3), ("C", 3))}
    assert len({tuple(one) for one in rounds}) == 6
    assert turns.steps == 3
    assert turns.seconds("B") == pytest.approx(0.08)
    assert turns.slowdown("A", "C") == pytest.approx(1.3862943611)


def test_a_slowdown_is_of_neighbours_so_that_what_lasts_meets_both():
    slow = [1.0, 1.0, 3.0, 3.0, 1.5]
    windows = {
        name: tuple(driver.Window(factor * s, load.Load(**CALM)) for s in slow)
        for name, factor in (("A", 1.0), ("B", 1.1))
    }

    turns = driver.Turns(steps=1, windows=windows)

    assert turns.slowdown("A", "B") == pytest.approx(0.0953101798)


def test_windows_that_others_disturbed_are_counted():
    loads = [load.Load(**CALM), load.Load(**DISTURBED), None]
    calm, disturbed, unknown = ([driver.Window(1.0, one)] for one in loads)

    assert driver.num_disturbed([calm + disturbed, disturbed], 2) == 2
    assert driver.num_disturbed([calm, disturbed + unknown], 2) is None


def test_one_tick_of_the_clock_disturbs_no_short_window():
    ticks = [0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25]
    short = [driver.Window(0.08, load.Load(one, 0.0)) for one in ticks]

    assert driver.num_disturbed([short], 2) == 0
    assert driver.num_disturbed([short[:2]], 2) == 2


@pytest.mark.parametrize(
    ("needed", "free", "fits"), [(10, 12, True), (10, 10, False), (9, None, True)]
)
def test_a_side_is_started_only_where_its_memory_fits(needed, free, fits):
    gib = 2**30
    if fits:
        driver.require_room(needed * gib, free and free * gib)
    else:
        with pytest.raises(driver.NotTogetherError, match=r"needs 10\.0 GiB .* 10\.0 GiB are free"):
            driver.require_room(needed * gib, free * gib)


def test_a_program_that_does_not_start_is_named(tmp_path):
    side = driver.Side(
        name="B",
        command=[str(tmp_path / "none")],
        folder=tmp_path,
        environ={},
        log=tmp_path / "log.txt",
        limit_s=1.0,
    )

    with (
        pytest.raises(processes.RunFailedError, match=r"B: .*none does not start: No such file"),
        driver.starting(side),
    ):
        raise AssertionError


_PARENT = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({"protocol": 1, "identity": {}, "memory_bytes": child.pid, "events_per_step": 1,
                  "phases": []}), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_a_side_started_is_left_running(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(driver, "_LEAVE_S", 0.1)
    side = driver.Side(
        name="B",
        command=[sys.executable, "-c", _PARENT],
        folder=tmp_path,
        environ=os.environ,
        log=tmp_path / "log.txt",
        limit_s=60.0,
    )
    with contextlib.suppress(KeyError), driver.starting(side) as wait:
        child = wait().memory_bytes
        if fails:
            raise KeyError

    assert not _is_running(child)


def test_a_signal_in_the_midst_of_the_start_leaves_no_side_running(tmp_path, signal_in_start):
    started = signal_in_start(signal.SIGINT)
    side = driver.Side(
        name="B",
        command=["sleep", "600"],
        folder=tmp_path,
        environ=os.environ,
        log=tmp_path / "log.txt",
        limit_s=1.0,
    )
    with pytest.raises(KeyboardInterrupt), driver.starting(side):
        pass

    with started[-1] as process:
        status = process.poll()
        process.kill()
    assert status == -signal.SIGKILL


def _is_running(pid):
    for _ in range(100):  # until its new parent has taken note of its end
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_the_benchmark_serves_windows_and_uses_no_cpu_time_while_it_waits(tmp_path):
    root = Path(__file__).parents[2]
    side = driver.Side(
        name="A",
        command=[
            *(sys.executable, "-P", "-m", "mlpf_jax.sides.member", "0.5", "--preset=smoke"),
            *("--num_id_layers=1", "--num_energy_layers=1", "--num_infer_samples=1"),
            *(f"--results_dir={tmp_path}", f"--data_dir={tmp_path / 'events'}", "--quiet"),
        ],
        folder=root,
        environ=os.environ | {"PYTHONPATH": str(root)},
        log=tmp_path / "log.txt",
        limit_s=300.0,
    )
    started = []
    popen = subprocess.Popen

    def remembered(*words, **options):
        started.append(popen(*words, **options))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver.subprocess, "Popen", remembered)
        with driver.starting(side) as wait:
            live = wait()
            turns = {
                phase: driver.take_turns({"A": live}, phase, 2, random.Random(1))
                for phase in live.phases
            }
            before = _cpu_s(started[-1].pid)
            time.sleep(2.0)
            waiting_s = _cpu_s(started[-1].pid) - before

    assert set(turns) == {"training", "inference"}
    assert all(turn.seconds("A") > 0 for turn in turns.values())
    assert live.memory_bytes > 10**8
    assert (tmp_path / "mlpf-jax_summary.json").is_file()
    assert started[-1].returncode == 0
    assert waiting_s < 0.1, "the threads of a waiting side are not idle"


def _cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
