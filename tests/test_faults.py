"""What goes wrong around a run ends it in one line, with the right status and no wrong number."""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax.report import hepscore, incomplete
from mlpf_jax.training import checkpoint

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Returns a function that runs the smallest run; all share compiled programs and events.

    `code` is executed first, in the process of the run.
    """
    place = tmp_path_factory.mktemp("shared")
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    environ = kept | {
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XDG_CACHE_HOME": str(place),
        "TMPDIR": str(place),
    }
    words = ("--preset=smoke", "--num_epochs=1", "--num_infer_samples=1", "--nomeasure_compile")

    def run(*arguments, code=""):
        program = f"{code}\nfrom mlpf_jax import main\nmain.run_app()"
        cache = f"--compilation_cache={place / 'compiled'}"
        return subprocess.run(
            [sys.executable, "-c", program, *words, cache, *arguments],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def assert_fails(done, folder, *words):
    """It failed with one line that has these words, and an incomplete report at most."""
    said = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert done.returncode == 1, done.stderr
    assert len(said) == 1, done.stderr
    assert all(word in said[0] for word in words), said[0]
    assert [path.name for path in folder.iterdir()] == [incomplete.FILE_NAME]
    document = json.loads((folder / incomplete.FILE_NAME).read_text(), parse_constant=pytest.fail)
    assert document["status"] == "incomplete"


# Does something when the training step is about to be compiled, at which point events are mapped.
_LATER = """
from mlpf_jax import progress
say = progress.Progress.say
def say_and_act(self, text):
    say(self, text)
    if text == "compiling the training step":
        act()
progress.Progress.say = say_and_act
"""


@pytest.fixture(scope="module")
def events(start, tmp_path_factory):
    """A folder of events that a run has made."""
    folder = tmp_path_factory.mktemp("events")
    done = start(f"--data_dir={folder}", f"--results_dir={folder / 'results'}", "--mode=infer")
    assert done.returncode == 0, done.stderr
    done = start(f"--data_dir={folder}", f"--results_dir={folder / 'results'}", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def damage(events, tmp_path, how):
    """Runs on a copy of the events, of which a file is damaged during the run."""
    data = tmp_path / "data"
    shutil.copytree(events, data, ignore=shutil.ignore_patterns("results"))
    (path,) = data.glob("*ttbar*/*/elements.npy")
    return [f"--data_dir={data}", f"--results_dir={tmp_path / 'out'}"], (
        f"{_LATER}\ndef act():\n    path = {str(path)!r}\n    {how}\n"
    )


@pytest.mark.parametrize(
    "how",
    [
        "import os; os.truncate(path, 4096)",
        "f = open(path, 'r+b'); f.seek(4096); f.write(bytes(4096)); f.close()",
    ],
    ids=["cut", "changed"],
)
def test_events_that_change_during_the_run_end_it(start, events, tmp_path, how):
    arguments, code = damage(events, tmp_path, how)

    done = start(*arguments, code=code)

    assert_fails(done, tmp_path / "out", "elements.npy has changed since it was opened")


@pytest.mark.parametrize("on_nan", ["stop", "record"])
def test_a_loss_that_is_not_finite_gives_no_score(start, tmp_path, on_nan):
    done = start(
        "--num_steps=4", "--learning_rate=1e30", f"--results_dir={tmp_path}", f"--on_nan={on_nan}"
    )

    if on_nan == "stop":
        assert_fails(done, tmp_path, "the loss of step 2 is not finite", "training events 2, 3")
        return
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert path.name == hepscore.UNSCORED_FILE_NAME
    report = json.loads(path.read_text(), parse_constant=pytest.fail)["report"]
    assert report["wl-stats"]["not_finite_steps"] == [2, 3, 4]
    assert "wl-scores" not in report


_HANG = f"""
{_LATER}
def act():
    import gc, time
    from mlpf_jax import stopping
    from mlpf_jax.measure import timing
    (stop,) = [one for one in gc.get_objects() if type(one) is stopping.Stop]
    time_steps = timing.time_steps
    def hang(step, *rest, **options):
        if step.__name__ == "train_step":
            stop.limit(None, 0.05)
            time.sleep(10**6)
        return time_steps(step, *rest, **options)
    timing.time_steps = hang
"""


def test_a_step_that_hangs_is_ended_from_outside(start, tmp_path):
    done = start(f"--results_dir={tmp_path}", code=_HANG)

    assert_fails(done, tmp_path, "no progress for 3 s (stacks of all threads: ", "while training")


_DEAD_FEED = f"""
{_LATER}
def act():
    from mlpf_jax.run import setup
    make_batch = setup.Setup.make_batch
    def die(self, events, indices):
        if 20 in indices:
            raise OSError(5, "Input/output error", "elements.npy")
        return make_batch(self, events, indices)
    setup.Setup.make_batch = die
"""


def test_a_feed_that_dies_ends_the_run(start, tmp_path):
    done = start(f"--results_dir={tmp_path}", code=_DEAD_FEED)

    assert_fails(done, tmp_path, "elements.npy: Input/output error")


def test_too_little_memory_on_the_host_is_told(start, tmp_path):
    code = f"""
{_LATER}
def act():
    import resource
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)  # room for the ending
    bytes(2**31)  # more than the heap can have left
"""
    done = start(f"--results_dir={tmp_path}", code=code)

    assert_fails(done, tmp_path, "out of memory")


def test_too_little_memory_on_a_device_is_told_with_the_way_to_a_batch_that_fits(start, tmp_path):
    code = f"""
{_LATER}
def act():
    import jax
    from mlpf_jax.measure import timing
    def time_steps(step, *rest, **options):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."
        )
    timing.time_steps = time_steps
"""
    done = start(f"--results_dir={tmp_path}", code=code)

    words = "out of memory: --batch_size=2 does not fit. The same command with --fit finds one"
    assert_fails(done, tmp_path, words, "17179869184 bytes")


@pytest.fixture
def small_group():
    """A control group that may take 2 GiB of memory."""
    parent = Path("/sys/fs/cgroup/memory")
    name = "memory.limit_in_bytes"
    if not parent.is_dir():
        parent, name = parent.parent, "memory.max"
    group = parent / f"mlpf-jax-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups: {error}")
    try:
        (group / name).write_text(str(2 * 2**30))
    except OSError as error:
        pytest.skip(f"control groups: {error}")
    else:
        yield group
    finally:
        group.rmdir()


def test_what_the_kernel_kills_for_its_memory_leaves_no_report(start, small_group, tmp_path):
    """Nothing can be said then; a batch system says it."""
    code = f"""
{_LATER}
def act():
    import pathlib
    pathlib.Path({str(small_group / "cgroup.procs")!r}).write_text("0")
    taken = [bytearray(b"1") * 2**28 for _ in range(64)]
"""
    done = start(f"--results_dir={tmp_path}", code=code)

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


# The second device never comes to the sum over devices.
_HUNG_COLLECTIVE = f"""
{_LATER.replace("compiling the training step", "drawing the weights")}
def act():
    import gc, time
    import jax
    import numpy as np
    from mlpf_jax import stopping
    from mlpf_jax.training import step
    (stop,) = [one for one in gc.get_objects() if type(one) is stopping.Stop]
    def come(device):
        stop.limit(None, 0.05)
        time.sleep(10**6 if device else 0)
        return np.float32(1)
    def train_step(config, state, batch, key):
        here = jax.ShapeDtypeStruct((), np.float32)
        came = jax.pure_callback(come, here, jax.lax.axis_index(step.AXIS))
        total = jax.lax.psum(came, step.AXIS)
        return state, step.StepSums({{"total": total}}, total, total)
    step.train_step = train_step
"""


def test_a_hung_collective_is_ended_from_outside(start, tmp_path):
    done = start(f"--results_dir={tmp_path}", "--num_devices=2", code=_HUNG_COLLECTIVE)

    assert_fails(done, tmp_path, "no progress for 3 s (stacks of all threads: ", "while training")
    stacks = re.search(r"stacks of all threads: ([^)]*)", done.stderr)[1]
    assert "in come" in Path(stacks).read_text()


def test_a_clock_that_jumps_changes_no_duration(start, tmp_path):
    code = f"""
{_LATER}
def act():
    import time
    now = time.time
    time.time = lambda: now() - 10**6
"""
    done = start(f"--results_dir={tmp_path}", code=code)

    assert done.returncode == 0, done.stderr
    stats = json.loads((tmp_path / hepscore.FILE_NAME).read_text())["report"]["wl-stats"]
    assert 0 < stats["train_time"] < 1000
    assert all(0 <= one["total_s"] < 1000 for one in stats["segments"])


def test_a_disk_too_small_for_the_events_is_told(start, make_disk, tmp_path):
    disk = make_disk("4m")

    done = start(f"--data_dir={disk}", f"--results_dir={tmp_path / 'results'}")

    assert_fails(done, tmp_path / "results", str(disk), "make space, or choose another folder")
    assert not [path for path in disk.rglob("*") if path.is_file()]


def test_a_disk_too_small_for_the_compiled_programs_costs_no_result(start, make_disk, tmp_path):
    done = start(f"--compilation_cache={make_disk('1200k')}", f"--results_dir={tmp_path}")

    assert done.returncode == 0, done.stderr
    hepscore.validate(json.loads((tmp_path / hepscore.FILE_NAME).read_text()))


def test_folders_that_vanish_during_the_run_cost_no_report(start, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "checkpoints"
    code = f"""
{_LATER}
def act():
    import shutil
    shutil.rmtree({str(out)!r})
    shutil.rmtree({str(kept)!r})
"""
    done = start(f"--results_dir={out}", f"--checkpoint_dir={kept}", code=code)

    said = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert "Traceback" not in done.stderr
    assert done.returncode == 1 or (kept / "25").exists(), done.stderr
    assert len(said) == (done.returncode == 1)
    hepscore.validate(json.loads((out / hepscore.FILE_NAME).read_text()))


def test_of_two_runs_with_one_folder_of_checkpoints_the_second_is_refused(start, tmp_path):
    kept = tmp_path / "checkpoints"
    store = checkpoint.Store(kept)  # as another run has it
    try:
        done = start(f"--checkpoint_dir={kept}", f"--results_dir={tmp_path / 'out'}")
    finally:
        store.close()

    assert_fails(done, tmp_path / "out", "another run writes its checkpoints there now")


def test_two_runs_with_one_results_folder_both_leave_their_report(start, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: start(f"--results_dir={tmp_path}"), range(2)))

    assert [done.returncode for done in ended] == [0, 0], [done.stderr for done in ended]
    reports = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert len(reports) == 2
    for report in reports:
        hepscore.validate(report)


_FAILED_SAVE = """
import pathlib, sys
from mlpf_jax import atomic
from mlpf_jax.training import checkpoint
from tests import tiny
atomic.try_writing = lambda folder, num_bytes: None  # the disk fills up after the trial
store = checkpoint.Store(pathlib.Path(sys.argv[1]))
try:
    store.save(0, tiny.random_state(tiny.run_config()), {})
except OSError as error:
    print(error)
store.close()
"""


def test_a_process_ends_after_a_save_that_failed(full_disk):
    """Threads of Orbax waited for each other, and the process for them."""
    done = subprocess.run(
        [sys.executable, "-c", _FAILED_SAVE, str(full_disk)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "No space left on device" in done.stdout
