"""The program as a user runs it: in processes of its own."""

import contextlib
import dataclasses
import inspect
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import types

import jsonschema
import pytest

from mlpf_jax import config, main, options, progress, runtime, stopping
from mlpf_jax.report import fields, hepscore, incomplete
from mlpf_jax.run import devices as devices_lib
from mlpf_jax.run import files

ROOT = pathlib.Path(__file__).parents[1]
SMOKE = "--flagfile=flags/smoke.cfg"
SMALL = (SMOKE, "--num_id_layers=1", "--num_energy_layers=1")  # half of it to compile


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """Leaves the cache of the person who runs this alone; all tests share one."""
    cache = str(tmp_path_factory.mktemp("cache"))
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    return kept | {
        "XDG_CACHE_HOME": cache,
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # where there is a cache
    }


def run_main(environ, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "mlpf_jax.main", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The compilation cache of all runs: what is not measured is compiled by the first."""
    return tmp_path_factory.mktemp("programs")


def run_to_end(environ, folder, *arguments):
    """Returns the report of a run, and its process."""
    done = run_main(environ, f"--results_dir={folder}", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / hepscore.FILE_NAME).read_text()), done


@pytest.fixture(scope="module")
def first_run(environ, cache, tmp_path_factory):
    assert not list(cache.iterdir())
    folder = tmp_path_factory.mktemp("first")
    return run_to_end(environ, folder, SMOKE, f"--compilation_cache={cache}")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The flags of small runs that compile each step once for all of them."""
    return *SMALL, f"--compilation_cache={tmp_path_factory.mktemp('small')}", "--nomeasure_compile"


@pytest.fixture(scope="module")
def run_small(environ, small):
    """Returns a function that makes a small run and returns its report and the process."""

    def run(folder, *arguments):
        return run_to_end(environ, folder, *small, *arguments)

    return run


@pytest.fixture(scope="module")
def trained(run_small, tmp_path_factory):
    """The report of a small run, and the folder that it wrote its weights into."""
    place = tmp_path_factory.mktemp("trained")
    document, _ = run_small(place, f"--checkpoint={place / 'weights'}", "--num_steps=3")
    return document["report"]["wl-stats"], place / "weights"


@pytest.fixture(scope="module")
def served_run(first_run, environ, cache, tmp_path_factory):
    """The same command in another process, quiet, and served by the cache that the first filled.

    Returns its report, its stderr, and what it heard from JAX's cache.
    """
    place = tmp_path_factory.mktemp("served")
    heard = place / "heard.json"
    arguments = [SMOKE, "--quiet", f"--compilation_cache={cache}", f"--results_dir={place}"]
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, heard, *arguments],
        cwd=ROOT,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((place / hepscore.FILE_NAME).read_text())
    return document, done.stderr, json.loads(heard.read_text())


def test_a_run_writes_a_valid_report_and_shows_the_scores(first_run):
    document, done = first_run

    # By jsonschema itself, not by the code that wrote it.
    command = [sys.executable, "-m", "mlpf_jax.report.schema"]
    schema = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    jsonschema.validate(document, json.loads(schema))
    assert document["app"]["is_validated"] is True
    scores = document["report"]["wl-scores"]
    assert set(scores) == {"training", "inference"}
    assert f"{scores['training']:.4g} events/s" in done.stdout
    assert len(done.stdout.splitlines()) <= 40
    assert "simulating ttbar: 50/50" in done.stderr
    assert "epoch 3/3" in done.stderr
    assert not [line for line in done.stderr.splitlines() if not line.startswith("[")]


def test_a_run_accounts_for_every_step_and_event(first_run):
    stats = first_run[0]["report"]["wl-stats"]
    training = stats["phases"]["training"]

    assert sum(training["sample_steps"]) + 1 == 3 * stats["steps_per_epoch"]
    assert sum(training["sample_events"]) + 2 == 3 * 50
    assert stats["events_per_epoch"] == 50
    for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_real_accuracy"):
        assert len(stats[key]) == 3
    assert stats["data"]["train"]["num_cut_events"] == 50
    assert stats["data"]["train"]["provenance"]["process"] == "ttbar"
    assert stats["data"]["test"]["provenance"]["process"] == "qcd"
    assert 0 <= training["padding_fraction"] < 1


def test_a_run_records_its_host_and_says_what_it_cannot_read(first_run):
    stats = first_run[0]["report"]["wl-stats"]

    assert "host" in stats["telemetry"]["sources"]
    for phase in stats["phases"].values():
        assert phase["sample_start_s"] == sorted(phase["sample_start_s"])
        assert (phase["energy"] is None) == (phase["energy_unknown"] is not None)


def test_the_same_command_gives_the_same_bits_in_another_process(first_run, served_run):
    """In the other it is quiet, and what is not measured comes out of a cache."""
    again, stderr, _ = served_run

    for key in ("loss_sha256", "params_sha256", "graph_sha256", "train_loss", "val_accuracy"):
        assert again["report"]["wl-stats"][key] == first_run[0]["report"]["wl-stats"][key]
    for phase in ("training", "inference"):
        ours, theirs = (
            document["report"]["wl-stats"]["phases"][phase]["program_sha256"]
            for document in (again, first_run[0])
        )
        assert ours == theirs
    assert stderr == ""


# Runs main, and writes down what JAX tells of its cache, inside and outside of what is measured.
_WATCHED = """
import json, pathlib, runpy, sys
from mlpf_jax import runtime

events = {"measured": [], "unmeasured": []}
place = "unmeasured"
prepare = runtime.prepare

def prepare_and_watch(*rest, **options):
    settings = prepare(*rest, **options)
    import jax
    from mlpf_jax.measure import timing
    compile_step = timing.compile_step

    def watched(*rest, **options):
        global place
        place = "measured"
        try:
            return compile_step(*rest, **options)
        finally:
            place = "unmeasured"

    timing.compile_step = watched
    jax.monitoring.register_event_listener(lambda event, **_: events[place].append(event))
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: events[place].append(event)
    )
    return settings

runtime.prepare = prepare_and_watch
out = pathlib.Path(sys.argv.pop(1))
try:
    runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)
finally:
    out.write_text(json.dumps(events))
"""


def test_a_cache_serves_what_is_not_measured_and_nothing_else(served_run, cache):
    document, _, heard = served_run

    assert heard["measured"].count("/jax/core/compile/backend_compile_duration") == 2
    of_cache = {event for event in heard["measured"] if "compilation_cache" in event}
    assert of_cache == {"/jax/compilation_cache/task_disabled_cache"}
    # All that the first run kept serves the second: the initial weights, which take seconds.
    kept = list(cache.glob("*-cache"))
    assert heard["unmeasured"].count("/jax/compilation_cache/cache_hits") >= len(kept) > 1
    assert "/jax/compilation_cache/cache_misses" not in heard["unmeasured"]
    assert list(cache.glob("jit_draw*")), "the initial weights"
    assert not list(cache.glob("*infer_step*")) + list(cache.glob("*train_step*"))
    assert document["app"]["environment"]["runtime"]["compilation_cache"] is True


@pytest.mark.slow
def test_other_seeds_change_what_they_should(trained, run_small, tmp_path):
    before, _ = trained
    other, _ = run_small(tmp_path / "seed", "--seed=7", "--num_steps=3", "--mode=train")
    data, _ = run_small(tmp_path / "data", "--data_seed=7", "--mode=infer")
    stats = other["report"]["wl-stats"]

    assert set(other["report"]["wl-scores"]) == {"training"}
    assert len(stats["val_accuracy"]) == 1
    assert stats["params_sha256"] != before["params_sha256"]
    assert stats["data"]["train"]["sha256"] == before["data"]["train"]["sha256"]
    stats = data["report"]["wl-stats"]
    assert stats["data"]["test"]["sha256"] != before["data"]["test"]["sha256"]
    assert set(data["report"]["wl-scores"]) == {"inference"}
    assert stats["inference_weights"] == "initial"
    assert stats["data"]["train"] is None


@pytest.mark.slow
def test_eight_virtual_devices_are_emulated_and_train_alike(run_small, tmp_path):
    """The same global batch on one device and on eight, pmap and shard_map, dashes in flags."""
    common = ("--num_train_events=16", "--num_epochs=1")
    settings = {
        "one": ("--batch_size=8",),
        "eight": ("--batch_size=1", "--num-devices=8"),
        "mapped": ("--batch_size=1", "--num_devices=8", "--parallel=shard_map"),
    }
    losses, documents = {}, {}
    for name, chosen in settings.items():
        documents[name], done = run_small(tmp_path / name, *common, *chosen)
        losses[name] = documents[name]["report"]["wl-stats"]["train_loss"]
        assert ("the result is marked as emulated" in done.stderr) == (name != "one")
        assert documents[name]["run_info"]["is_emulated"] == (name != "one")

    assert losses["eight"] == pytest.approx(losses["one"], rel=1e-4)
    assert losses["mapped"] == losses["eight"]
    digests = [documents[n]["report"]["wl-stats"]["params_sha256"] for n in ("eight", "mapped")]
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_checkpoint_gives_inference_the_trained_weights(
    environ, trained, run_small, small, tmp_path
):
    before, folder = trained
    again = run_main(environ, *small, f"--checkpoint={folder}", f"--results_dir={tmp_path / 'b'}")
    inferred, done = run_small(tmp_path / "c", f"--checkpoint={folder}", "--mode=infer")

    assert again.returncode == 2
    assert "exists already and is not overwritten" in again.stderr
    after = inferred["report"]["wl-stats"]
    assert "drawing the weights" not in done.stderr
    assert after["inference_weights"] == "checkpoint"
    assert after["params_sha256"] == before["params_sha256"]
    assert after["inference_loss"] == before["inference_loss"]


@pytest.mark.slow
def test_bf16_is_a_score_of_its_own_name(run_small, tmp_path):
    document, _ = run_small(tmp_path, "--precision=bf16", "--num_steps=3")
    assert set(document["report"]["wl-scores"]) == {"training-bf16", "inference-bf16"}


@pytest.mark.slow
def test_tight_padding_is_a_score_of_its_own_name_and_learns_the_same(run_small, tmp_path):
    """Whole events of about 5,000 elements in 20 bins; on a CPU one after another if not tight."""
    wide = ("--num_elements=6400", "--bin_size=320", "--num_train_events=8", "--num_epochs=2")
    documents = {
        name: run_small(tmp_path / name, *wide, f"--padding={name}")[0]
        for name in ("full", "tight")
    }

    full, tight = (documents[name]["report"] for name in ("full", "tight"))
    assert set(tight["wl-scores"]) == {"training-tight", "inference-tight"}
    assert set(full["wl-scores"]) == {"training", "inference"}
    for key in ("train_loss", "val_loss", "inference_loss"):
        assert tight["wl-stats"][key] == pytest.approx(full["wl-stats"][key], rel=1e-4)
    for name, phase in tight["wl-stats"]["phases"].items():
        whole = full["wl-stats"]["phases"][name]
        assert whole["capacities"] == []
        assert sum(used["num_steps"] for used in phase["capacities"]) == sum(phase["sample_steps"])
        assert phase["padding_fraction"] < whole["padding_fraction"]
        assert phase["flops_per_event"] < whole["flops_per_event"]


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--precision=tf32"], "--precision=tf32: cpu has no TF32"),
        (["--platform=gpu"], "--platform=gpu: "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(environ, arguments, culprit):
    done = run_main(environ, *arguments)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "value"), [("JAX_DISABLE_JIT", "1"), ("JAX_PLATFORMS", "cuda"), ("XLA_FLAGS", "--a=1")]
)
def test_a_variable_that_forbids_the_run_is_one_line_and_exit_status_2(environ, name, value):
    done = run_main(environ | {name: value}, SMOKE)

    assert done.returncode == 2
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def main_in_process(monkeypatch, capsys, *arguments, settings=None):
    """Returns the exit status and what was printed. Without settings it must not get to JAX."""
    monkeypatch.setattr(sys, "argv", ["mlpf-jax", *arguments])
    monkeypatch.setattr(main, "_FLAGS", options.define())
    monkeypatch.setattr(main.runtime, "prepare", (lambda _: settings) if settings else None)
    if settings:
        monkeypatch.setattr(files, "prepare", lambda *_, **__: None)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main.run_app()
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--no_such_flag=1"], "no_such_flag"),
        (["--batch_size=many"], "batch_size"),
        (["--noquiet=1"], "--noquiet=1"),
        (["--flagfile=flags/missing.cfg"], "missing.cfg"),
        (["--flagfile"], "--flagfile: give a file"),
        (["--preset=fast"], "--preset=fast: no file, and none of default, hepscore"),
        (["--preset=README.md"], "README.md: "),
        (["batch_size=4"], "stray argument: batch_size=4"),
        (["--precision=float16"], "precision"),
        (["--padding=loose"], "padding"),
        (
            ["--padding=tight", "--batch_size=4", "--events_at_once=2"],
            "--padding=tight and --events_at_once=2 exclude each other",
        ),
        (["--num_elements=6000"], "--num_elements=6000 is not a multiple of --bin_size=640"),
        (["--global_batch_size=3", "--num_devices=2"], "--global_batch_size=3"),
        (["--bank=missing.npz"], "--bank=missing.npz: no such file"),
        (["--mode=infer", "--checkpoint=missing"], "--checkpoint=missing: does not exist"),
        (["--results_dir=pyproject.toml/x"], "--results_dir=pyproject.toml/x"),
        (["--compilation_cache=README.md"], "--compilation_cache=README.md"),
        (["--nomeasure_compile"], "--nomeasure_compile needs a cache"),
        (["--data_dir="], "give a file or folder"),
    ],
)
def test_wrong_usage_is_reported_in_one_line_before_jax_starts(
    monkeypatch, capsys, arguments, culprit
):
    status, printed, said = main_in_process(monkeypatch, capsys, *arguments)

    assert status == 2
    assert culprit in said
    assert len(said.splitlines()) == 1
    assert printed == ""


@pytest.mark.parametrize("flag", ["checkpoint", "checkpoint_dir"])
def test_a_flag_whose_package_is_missing_is_refused(monkeypatch, capsys, tmp_path, flag):
    monkeypatch.setitem(sys.modules, "orbax", None)

    status, _, said = main_in_process(monkeypatch, capsys, f"--{flag}={tmp_path / 'new'}")

    assert (status, said) == (2, f"error: --{flag} needs orbax: pip install orbax-checkpoint\n")


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    platform: str
    device_kind: str = "Fake 1"


@pytest.mark.parametrize(
    ("platform", "number", "devices", "in_all"),
    [("gpu", 1, 1, 16), ("gpu", 2, 2, 16), ("gpu", 3, 3, 15), ("tpu", 8, 8, 16), ("cpu", 8, 8, 8)],
)
def test_the_first_command_runs_on_what_is_there(
    monkeypatch, capsys, platform, number, devices, in_all
):
    """`make bench` on a machine with so many accelerators, or without one."""
    ran = []
    found = devices_lib.Found((FakeDevice(platform),) * number)
    monkeypatch.setattr(main, "_start_jax", lambda *given: found)
    monkeypatch.setattr(main, "_run", lambda *arguments: ran.append(arguments) or [])
    settings = runtime.RuntimeSettings("", "default", "asynchronous", 2)

    status, printed, said = main_in_process(monkeypatch, capsys, settings=settings)

    assert (status, printed) == (0, "")
    ((_, course, _, used, _, start, _),) = ran
    config = course.config
    assert (len(used), config.global_batch_size) == (devices, in_all)
    assert config.steps_by_epoch == {16: (69,) * 5, 15: (74,) * 5, 8: (5, 5)}[in_all]
    departs = "16 events per step cannot be divided evenly among 3 devices: each takes 5, 15 in all"
    assert (departs in said) == (start["departure"] == departs) == (number == 3)
    assert ("no accelerator found: 8 virtual devices share 2" in said) == (platform == "cpu")


def test_an_error_that_nobody_expected_leaves_an_incomplete_report(monkeypatch, capsys, tmp_path):
    def fail(*arguments):
        raise KeyError("shape")

    found = devices_lib.Found((FakeDevice("cpu"),) * 8)
    monkeypatch.setattr(main, "_start_jax", lambda *given: found)
    monkeypatch.setattr(main, "_run", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = runtime.RuntimeSettings("", "default", "asynchronous", 2)

    status, _, said = main_in_process(
        monkeypatch, capsys, f"--results_dir={tmp_path}", settings=settings
    )

    assert status == 1
    assert "error: unexpected: KeyError: 'shape' (traceback: " in said
    assert json.loads((tmp_path / incomplete.FILE_NAME).read_text())["reason"] == "'shape'"


def test_a_number_that_is_not_there_is_refused_with_the_ways_out(monkeypatch, capsys):
    found = devices_lib.Found((FakeDevice("gpu"),))
    monkeypatch.setattr(main, "_start_jax", lambda *given: found)

    status, _, said = main_in_process(
        monkeypatch,
        capsys,
        "--num_devices=8",
        settings=runtime.RuntimeSettings("", "default", "asynchronous", 2),
    )

    assert status == 2
    assert said == (
        "error: --num_devices=8: only 1 of platform gpu (Fake 1) can be used here. Choose "
        "--num_devices=all or at most 1; --platform=cpu emulates 8 on the CPU.\n"
    )


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_run_may_go_without_samples_for_the_energy_alone(monkeypatch, is_wanted):
    client = types.SimpleNamespace(process_index=lambda: 0, platform_version="cuda")
    gpu = types.SimpleNamespace(platform="gpu", process_index=0, local_hardware_id=3, client=client)
    opened = []

    def open_recorder(*device, **wishes):
        opened.append((*device, wishes))
        return types.SimpleNamespace(no_devices=None)

    monkeypatch.setattr("mlpf_jax.telemetry.opening.open_recorder", open_recorder)

    places = config.FilesConfig(extra_samples=is_wanted)
    unchecked = inspect.unwrap(main._open_recorder)  # its types are imported for the checker alone
    unchecked((gpu,), places, progress.Progress(quiet=True))

    assert opened == [("gpu", "cuda", [3], {"lengthens": is_wanted})]


def test_where_xla_has_no_kernel_for_a_product_the_flag_that_helps_is_named():
    refused = RuntimeError("INTERNAL: Failed to get configs for: 2 out of 171 instructions.\nmore")

    assert main._way_out(refused, config.RunConfig()) == (
        "XLA has no kernel for a product: set XLA_FLAGS=--xla_gpu_enable_triton_gemm=false. "
        "(INTERNAL: Failed to get configs for: 2 out of 171 instructions.)"
    )


@pytest.mark.parametrize("word", ["--help", "-h", "-?", "--helpfull", "--helpshort"])
def test_help_is_status_0_with_the_programs_text_and_every_flag(monkeypatch, capsys, word):
    status, printed, said = main_in_process(monkeypatch, capsys, "--seed=1", word)

    assert (status, said) == (0, "")
    assert printed.startswith("Trains the MLPF network")
    assert "\n  --batch_size: Events per device and step. Default: 1 on a CPU" in printed
    named = re.findall(r"^  --(?:\[no\])?(\w+):", printed, re.MULTILINE)
    assert sorted(named) == sorted([*options.define(), "debug", "flagfile"])


def test_help_as_xml_is_refused(monkeypatch, capsys):
    status, _, said = main_in_process(monkeypatch, capsys, "--helpxml")

    assert status == 2
    assert said == "error: Unknown command line flag 'helpxml'\n"


# Without modules that a run can do without, or that it must name.
_WITHOUT = """
import runpy, sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)
"""


def run_without(environ, modules, *arguments):
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT, modules, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "package"), [("absl", "absl-py"), ("jaxtyping", "jaxtyping"), ("flax", "flax")]
)
def test_a_module_that_is_missing_is_named_in_one_line_with_the_way_to_get_it(
    environ, tmp_path, module, package
):
    done = run_without(environ, module, SMOKE, f"--results_dir={tmp_path}", "--quiet")

    assert done.returncode == 1
    said = f"error: the module {module} is missing: {sys.executable} -m pip install {package}\n"
    assert done.stderr == said


@pytest.mark.slow
def test_a_run_does_without_what_only_validates_shows_or_keeps_weights(environ, tmp_path):
    modules = "jsonschema,orbax,google_crc32c,matplotlib,jinja2,fastjet,pythia8mc"
    done = run_without(environ, modules, *SMALL, "--num_epochs=1", f"--results_dir={tmp_path}")

    assert done.returncode == 0, done.stderr
    assert "the report was not validated: jsonschema is missing" in done.stdout
    document = json.loads((tmp_path / hepscore.FILE_NAME).read_text())
    assert document["app"]["is_validated"] is False
    assert document["app"]["environment"]["runtime"]["compilation_cache"] is False
    hepscore.validate(document)


def test_damaged_events_are_one_line_and_exit_status_1(environ, tmp_path):
    (tmp_path / "ttbar").mkdir()
    (tmp_path / "ttbar" / "manifest.json").write_text("{")
    done = run_main(environ, SMOKE, f"--data_dir={tmp_path}", f"--results_dir={tmp_path}")

    assert done.returncode == 1
    assert "manifest.json" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / hepscore.FILE_NAME).exists()


@pytest.mark.parametrize(
    ("settings", "sign", "phase", "doing", "num_steps"),
    [
        (
            ["--mode=infer", "--num_infer_samples=100000"],
            "inference: ",
            "inference",
            "inferring",
            0,
        ),
        pytest.param(
            [*SMALL, "--num_epochs=100000"],
            "epoch 1/",
            "training",
            "training",
            5,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(
    environ, cache, tmp_path, settings, sign, phase, doing, num_steps
):
    places = [f"--compilation_cache={cache}", f"--results_dir={tmp_path}"]
    arguments = ["-m", "mlpf_jax.main", SMOKE, *places, *settings]
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if sign in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()

    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith(f"error: interrupted while {doing}. Nothing is kept")
    assert "Traceback" not in rest
    (left,) = tmp_path.iterdir()
    assert left.name == incomplete.FILE_NAME
    document = json.loads(left.read_text())
    jsonschema.validate(document, fields.schema_of(incomplete.Incomplete))
    assert (document["reason"], document["phase"]) == ("SIGINT", phase)
    assert document["num_steps"] >= num_steps


def test_a_signal_waits_for_the_end_of_an_import(tmp_path, monkeypatch):
    """In the start of an extension module it can crash Python."""
    (tmp_path / "slow_to_import.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nis_whole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with stopping.Stop() as stop, pytest.raises(stopping.Stopped, match="SIGTERM") as stopped:
        main._import(stop, "slow_to_import")

    assert stopped.value.status == 143
    assert sys.modules.pop("slow_to_import").is_whole
    assert stop.last_words("SIGTERM") == "stopped (SIGTERM) while starting."


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_run_costs_no_report(environ, small, make_disk, tmp_path):
    """Report, weights and trace cannot be written; the report is kept elsewhere, and shown."""
    disk = make_disk("32m")
    places = {"results_dir": "results", "checkpoint": "weights", "profile": "profile"}
    flags = [f"--{flag}={disk / name}" for flag, name in places.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "mlpf_jax.main", *small, "--num_steps=3", *flags],
        cwd=ROOT,
        env=environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if "compiling" in line:
                fill(disk)
                break
        shown, said = process.communicate()

    assert process.returncode == 1
    errors = [line for line in said.splitlines() if not line.startswith("[")]
    assert [line.partition("=")[0].partition(": could")[0] for line in errors] == [
        "error: --results_dir",
        "error: --checkpoint",
        "error: --profile",
    ]
    (kept,) = tmp_path.glob("mlpf-jax-*/*.json")
    assert f"The report is {kept}." in errors[0]
    hepscore.validate(json.loads(kept.read_text()))
    assert f"report: {kept}" in shown
    assert not list(disk.rglob("*.json"))
    assert not (disk / "weights").exists()


def fill(disk):
    with contextlib.suppress(OSError), (disk / "other").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**12))


# Ctrl-C in the midst of XLA's work, which must not be taken down under it.
_INTERRUPTED_WHILE_COMPILING = """
import signal, threading
from mlpf_jax import main

start_jax = main._start_jax

def start_jax_and_wait_for_it_to_compile(*arguments):
    platform = start_jax(*arguments)
    import jax
    compile_it = jax.stages.Lowered.compile

    def interrupted(*arguments, **options):
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        return compile_it(*arguments, **options)

    jax.stages.Lowered.compile = interrupted
    return platform

main._start_jax = start_jax_and_wait_for_it_to_compile
main.run_app()
"""


@pytest.mark.slow
def test_ctrl_c_while_xla_compiles_is_one_line_too(environ, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_WHILE_COMPILING, SMOKE, f"--results_dir={tmp_path}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )

    # On a busy machine XLA compiles for longer than the run may take to answer.
    words = r"error: (interrupted|stopped \(SIGINT; it did not answer\)) while compiling"
    assert done.returncode == 130
    assert re.match(words, done.stderr.splitlines()[-1])
    assert [path.name for path in tmp_path.iterdir()] == [incomplete.FILE_NAME]
