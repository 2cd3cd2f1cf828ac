"""Copies measure a phase at the same time, and one that fails ends all."""

import os
import queue
import socket
import subprocess
import sys
import time

import pytest

from mlpf_jax import processes
from mlpf_jax.workload import member, together
from tests import test_processes

# A copy without a benchmark: says its cores and runs BODY in both phases.
PROGRAM = """
import os, socket, sys, time

from mlpf_jax.workload import member

meeting = member.Meeting(socket.socket(fileno=int(sys.argv[1])))
number = int(sys.argv[2])
print("cores", *sorted(os.sched_getaffinity(0)), flush=True)
for phase in ("training", "inference"):
    meeting.start(phase)
    BODY
    meeting.end(phase, lambda: time.sleep(0.001))
"""


def run(tmp_path, body="pass", *, number=2, cores=None):
    copies = [
        together.Copy(
            number=i,
            arguments=(str(i),),
            cores=cores,
            environ=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            log=tmp_path / f"out_{i}.log",
            program=(sys.executable, "-c", PROGRAM.replace("BODY", body)),
        )
        for i in range(1, number + 1)
    ]
    said = []
    return together.run(copies, said.append), said


def test_a_copy_works_on_until_all_have_ended_the_phase_and_leaves_with_its_starter():
    ours, theirs = socket.socketpair()
    left, worked = queue.Queue(), queue.Queue()
    meeting = member.Meeting(theirs, left.put)

    def work():
        worked.put("a step")
        ours.send(b".")

    ours.send(b".")  # for the start
    meeting.start("training")
    meeting.end("training", work)
    told = ours.recv(4096)
    ours.close()

    assert worked.get_nowait() == "a step"
    assert b'"end_ns"' in told
    assert left.get(timeout=60) == 1
    theirs.close()


def test_a_copy_leaves_when_its_starter_was_killed_before_it_read_all():
    ours, theirs = socket.socketpair()
    left = queue.Queue()
    theirs.sendall(b"a message")
    member.Meeting(theirs, left.put)
    ours.close()

    assert left.get(timeout=60) == 1
    theirs.close()


@pytest.mark.slow
def test_copies_start_and_end_each_phase_together(tmp_path):
    spans, said = run(tmp_path, "time.sleep(0.2 * number)")

    for phase in ("training", "inference"):
        assert max(s[phase].start_ns for s in spans) < min(s[phase].end_ns for s in spans)
    first, second = spans
    assert second["training"].end_ns <= first["inference"].start_ns
    assert said == [
        f"all 2 copies at the {place} of {phase}"
        for phase in ("training", "inference")
        for place in ("start", "end")
    ]


@pytest.mark.slow
def test_a_copy_is_bound_to_its_cores_and_the_starter_is_not(tmp_path):
    before = os.sched_getaffinity(0)
    core = max(before)

    run(tmp_path, number=1, cores=(core,))

    assert (tmp_path / "out_1.log").read_text() == f"cores {core}\n"
    assert os.sched_getaffinity(0) == before


@pytest.mark.slow
def test_a_copy_costs_its_starter_one_descriptor(tmp_path, monkeypatch):
    release, counts = together._release_together, []

    def count_and_release(running, say):
        counts.append(len(os.listdir("/proc/self/fd")))
        release(running, say)

    monkeypatch.setattr(together, "_release_together", count_and_release)
    before = len(os.listdir("/proc/self/fd"))
    run(tmp_path, number=3)

    assert max(counts) - before <= 3 + 1  # and the selector


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("number == 1 and time.sleep(600); sys.exit('error: no room')", "exit status 1: no room"),
        ("number == 1 and time.sleep(600); os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("if number == 2: sys.exit(3)", "exit status 3"),  # while the other waits for it
    ],
)
def test_a_copy_that_fails_ends_all_and_is_named(tmp_path, body, why):
    with pytest.raises(processes.RunFailedError, match=f"copy 2 of 2 .*{why}"):
        run(tmp_path, body)


@pytest.mark.slow
def test_a_copy_that_ends_early_with_success_is_a_failure_too(tmp_path):
    with pytest.raises(processes.RunFailedError, match="ended while others waited"):
        run(tmp_path, "if number == 1: sys.exit(0)")


@pytest.mark.slow
def test_a_long_phase_is_told_by_the_last_line_of_the_first_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_PROGRESS_S", 0.05)

    _, said = run(tmp_path, "print('half', flush=True); time.sleep(1)")

    assert said.count("copy 1: half") == 1


# Starts two copies that wait for ever, and tells their numbers.
STARTER = """
import os, sys
from pathlib import Path
from mlpf_jax.workload import together

folder, program = Path(sys.argv[1]), sys.argv[2]
copies = [
    together.Copy(
        number=number,
        arguments=(str(number),),
        cores=None,
        environ=dict(os.environ),
        log=folder / f"out_{number}.log",
        program=(sys.executable, "-c", program),
    )
    for number in (1, 2)
]
together.run(copies, lambda line: print(line, flush=True))
"""


@pytest.mark.slow
def test_no_copy_outlives_a_starter_that_is_killed(tmp_path):
    body = "print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), PROGRAM.replace("BODY", body)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout.readline() == "all 2 copies at the start of training\n"
        logs = [tmp_path / f"out_{number}.log" for number in (1, 2)]
        wait_until(lambda: all(len(log.read_text().splitlines()) == 2 for log in logs))
        starter.kill()

    numbers = [int(log.read_text().splitlines()[1]) for log in logs]
    wait_until(lambda: not any(test_processes.is_alive(number) for number in numbers))


def wait_until(holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen within a minute")
