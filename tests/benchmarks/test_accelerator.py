"""One command asks an accelerator everything: what it would run, what it keeps, what it says."""

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.accelerator import agreement, answers, driver, facts, questions, stages, table
from mlpf_jax import options
from mlpf_jax.measure import xla_flags
from mlpf_jax.study import running
from mlpf_jax.telemetry import runtimes
from tests.telemetry import fake_nvml

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
REPORT = json.loads((RESULTS / "2026-11-24_epyc-2-cores_reproducibility.json").read_text())
GPU = {
    "platform": "gpu",
    "platform_version": "cuda 13000",
    "has_tf32": True,
    "num_devices": 4,
    "memory_bytes": 100 * 2**30,
    "has_energy_counter": True,
}
TPU = GPU | {"platform": "tpu", "platform_version": "", "has_tf32": False}
TPU |= {"has_energy_counter": False}
ROCM = GPU | {"platform_version": "rocm 70000", "has_tf32": False}
PLACES = [stages.Place(facts=device) for device in (GPU, ROCM, TPU)]


def plan(device=GPU, **request):
    found = stages.rest(stages.Place(facts=device, **request))
    return {stage.name: stage for stage in found}


@pytest.mark.parametrize("place", PLACES, ids=["cuda", "rocm", "tpu"])
def test_every_run_of_the_plan_has_settings_that_the_device_takes(place, tmp_path):
    write_report(tmp_path, f"{place.fast}-batch-16", 2**30)
    write_report(tmp_path, f"{place.fast}-batch-64", 4 * 2**30)
    names = [stage.name for stage in stages.rest(place)]
    assert len(names) == len(set(names))
    for stage in stages.rest(place):
        if stage.kind == "run" and not stage.cannot:
            assert stage.base is None or stage.base in names
            values = options.define()
            assert values(["main", *stage.command(tmp_path)]) == ["main"]
            options.read(values).run_config(place.facts["platform"], 8)


def program_arguments():
    for place, kind in zip(PLACES, ("cuda", "rocm", "tpu"), strict=True):
        for stage in stages.rest(place):
            if stage.kind in ("profile", "peers") and not stage.cannot:
                yield pytest.param(stage, id=f"{kind} {stage.name}")


@pytest.mark.parametrize("stage", list(program_arguments()))
def test_the_other_programs_take_the_arguments_of_the_plan(stage, run_program, monkeypatch):
    """The last argument is wrong: all others are understood by then."""
    monkeypatch.setattr("mlpf_jax.runtime.prepare", lambda num_devices: None)  # JAX is there
    monkeypatch.setattr("mlpf_jax.runtime.set_up_jax", lambda num_devices: None)
    monkeypatch.setattr("benchmarks.peers.processes.interpreter", lambda name: None)

    done = run_program(stage.module, *stage.arguments, "--num_elements=100")

    assert done.returncode == 2
    assert "--num_elements=100" in done.stderr


def test_a_stage_that_cannot_run_here_says_why():
    assert plan()["devices-8"].cannot == "8 devices, and there are 4"
    assert plan(has_torch=False)["peers-tf32-batch-16"].cannot == "PyTorch is not installed"
    assert plan(TPU)["nondeterministic"].cannot == "the flags are for GPUs"
    assert plan(TPU)["tf32-batch-16"].cannot == "the device has no TF32"
    assert plan(TPU)["energy-bf16"].cannot == "the device has no counter of energy"


def test_the_second_reproducible_run_takes_the_programs_of_another_process():
    stages_of = plan()

    cached = [name for name, one in stages_of.items() if "--nomeasure_compile" in one.arguments]
    assert cached == ["float32-batch-16", "reproducibility-2"]
    assert "--compilation_cache=x/programs" in stages_of["reproducibility-2"].command(Path("x"))


def test_a_stage_is_a_run_of_its_own_whatever_started_the_program():
    runs = [stage for stage in plan().values() if stage.kind == "run"]

    assert all("--distributed=off" in stage.arguments for stage in runs)


def test_only_the_stages_of_energy_take_more_samples_for_it():
    runs = [stage for stage in plan().values() if stage.kind == "run"]

    longer = [one.name for one in runs if files_of(one).extra_samples]
    assert longer == ["energy-tf32", "energy-bf16"]


def files_of(stage):
    """The settings of a run, where the last flag of a name wins."""
    values = options.define()
    values(["main", *stage.arguments])
    return options.read(values).files


def test_the_stages_up_to_the_reproducible_runs_fit_the_default_budget():
    names = list(plan())
    first = [stage.estimate_s for stage in [stages.first(is_rehearsal=False), *plan().values()]]
    until = first[: names.index("reproducibility-2") + 2]

    runner = Runner()
    assert sum(until) <= driver.Budget(480.0, lambda: runner.now).left_s()


def test_on_a_gpu_the_golden_data_are_compared_as_a_run_computes():
    assert plan()["golden"].environ == {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
    assert plan(TPU)["golden"].environ == {}


def test_several_devices_share_a_whole_batch_of_test_events():
    arguments = plan(GPU | {"num_devices": 8})["devices-8"].arguments

    *_, last = (argument for argument in arguments if "num_test_events" in argument)
    assert last == "--num_test_events=128"


def write_report(out, name, num_bytes):
    phase = {"memory_per_device": {"total_bytes": num_bytes}}
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    document = {"report": {"wl-stats": {"phases": {"training": phase}}}}
    (folder / "mlpf-jax_summary.json").write_text(json.dumps(document))


def test_the_largest_batch_follows_from_the_memory_of_two_smaller_ones(tmp_path):
    stage = plan()["tf32-batch-largest"]
    write_report(tmp_path, "tf32-batch-16", 8 * 2**30)
    with pytest.raises(LookupError, match="no reports of two batches"):
        stage.command(tmp_path)
    write_report(tmp_path, "tf32-batch-64", 32 * 2**30)  # half a GiB for each event

    assert "--batch_size=176" in stage.command(tmp_path)  # 88 of 90 GiB


def test_where_64_events_do_not_fit_the_largest_batch_follows_from_fewer(tmp_path):
    small = GPU | {"memory_bytes": 30 * 2**30}  # an A100 with 40 GB
    write_report(tmp_path, "tf32-batch-1", 2**30)
    write_report(tmp_path, "tf32-batch-16", int(8.5 * 2**30))  # half a GiB for each event

    assert "--batch_size=48" in plan(small)["tf32-batch-largest"].command(tmp_path)


class Runner:
    """Pretends to run: takes the time of each stage, and leaves its file if it succeeds."""

    def __init__(self, seconds=10.0, failing=(), hanging=(), result="{}"):
        self.now, self.ran, self.environs = 0.0, [], []
        self._seconds, self._failing, self._hanging = seconds, failing, hanging
        self._result = result

    def __call__(self, arguments, folder, *, timeout_s, module, environ, root):
        self.ran.append(folder.name)
        self.environs.append(environ)
        if folder.name in self._hanging:
            self.now += timeout_s
            return running.Outcome(-9, f"did not end within {timeout_s:g} s")
        self.now += self._seconds
        if folder.name in self._failing:
            return running.Outcome(1, "a trivial mistake")
        (folder / "result.json").write_text(self._result)
        return running.Outcome(0, "")


def made_up(name, **changes):
    settings = {"kind": "roofs", "module": "x", "estimate_s": 10.0} | changes
    return stages.Stage(name=name, **settings)


def run(some, out, runner, budget_s=1000.0, environ=None, *, again=False):
    budget = driver.Budget(budget_s, lambda: runner.now)
    driver.run_all(
        some, out, budget, lambda line: None, environ=environ or {}, runner=runner, again=again
    )
    return {stage.name: driver.read(stage, out) for stage in some}


A, B, C = map(made_up, "abc")


def test_a_failed_stage_does_not_stop_the_others_and_comes_last_in_the_next_call(tmp_path):
    found = run([A, B, C], tmp_path, Runner(failing=["a"]), budget_s=35.0)

    assert [found[name].state for name in "abc"] == ["failed", "done", "skipped"]
    assert found["a"].reason == "a trivial mistake"
    assert "--debug" in found["a"].command  # its traceback is in its log
    assert found["c"].reason == "needs about 10 s, and 3 s are left"

    assert run([A], tmp_path, Runner(), budget_s=1.0)["a"].state == "failed"

    again = Runner()
    found = run([A, B, C], tmp_path, again)
    assert again.ran == ["c", "a"]
    assert {outcome.state for outcome in found.values()} == {"done"}


def test_a_stage_gets_no_more_than_the_rest_of_the_budget(tmp_path):
    runner = Runner(hanging=["a"])

    found = run([A, B], tmp_path, runner, budget_s=100.0)

    assert found["a"].state == "cut"
    assert runner.now == 88.0  # the rest is for a process that is told to end
    assert found["b"].state == "skipped"


def test_a_stage_that_was_cut_is_run_again_if_it_gets_more_time(tmp_path):
    assert run([A], tmp_path, Runner(hanging=["a"]), budget_s=62.0)["a"].seconds == 50.0

    shorter = Runner()
    assert run([A], tmp_path, shorter, budget_s=61.0)["a"].state == "cut"
    assert shorter.ran == []

    assert run([A], tmp_path, Runner(), budget_s=72.0)["a"].state == "done"


def test_xlas_flags_of_a_stage_follow_those_of_the_user(tmp_path):
    runner = Runner()
    flagged = made_up("d", environ={"XLA_FLAGS": "--b=2", "X": "y"})

    run([A, flagged], tmp_path, runner, environ={"XLA_FLAGS": "--b=1 --c=3"})

    assert runner.environs == [
        {"XLA_FLAGS": "--b=1 --c=3"},
        {"XLA_FLAGS": "--b=1 --c=3 --b=2", "X": "y"},
    ]


def test_where_xla_has_no_kernel_for_a_product_all_stages_run_without_tritons(tmp_path):
    class Refusing(Runner):
        def __call__(self, arguments, folder, *, environ, **rest):
            outcome = super().__call__(arguments, folder, environ=environ, **rest)
            if "triton_gemm=false" in environ.get("XLA_FLAGS", "") or folder.name == "a":
                return outcome
            return running.Outcome(1, "INTERNAL: Failed to get configs for: 2 out of 9 products")

    runner = Refusing()
    found = run([A, B, C], tmp_path, runner, environ={"XLA_FLAGS": "--b=1"})

    assert runner.ran == ["a", "b", "b", "c"]
    assert {outcome.state for outcome in found.values()} == {"done"}
    flags = [environ["XLA_FLAGS"] for environ in runner.environs]
    assert flags == ["--b=1"] * 2 + ["--b=1 --xla_gpu_enable_triton_gemm=false"] * 2


def test_where_the_systems_folder_is_small_temporary_files_go_to_the_results(tmp_path, monkeypatch):
    def disk_usage(path):
        return types.SimpleNamespace(free=free)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    free = 2**31
    assert driver.temporary_folder(tmp_path) == {}
    free = 2**26
    assert driver.temporary_folder(tmp_path) == {"TMPDIR": str(tmp_path / "tmp")}
    assert (tmp_path / "tmp").is_dir()
    assert driver.temporary_folder(tmp_path)  # again, when a second call goes on


def described(out, **runner):
    first = stages.first(is_rehearsal=False)
    return driver.describe(
        first, out, lambda stage: run([stage], out, Runner(**runner), again=True)
    )


def description(kind):
    return json.dumps({"platform": "gpu", "device_kind": kind, "num_devices": 1})


def test_the_devices_are_described_anew_in_every_call(tmp_path):
    assert described(tmp_path, result=description("A"))["device_kind"] == "A"
    stages.first(is_rehearsal=False).result(tmp_path).write_text("{")  # damaged meanwhile

    assert described(tmp_path, result=description("A"))["device_kind"] == "A"


def test_results_of_two_devices_are_not_mixed(tmp_path):
    described(tmp_path, result=description("A"))

    for _ in range(2):
        with pytest.raises(ValueError, match=r"of 1 x A \(gpu\), and here is 1 x B \(gpu\)"):
            described(tmp_path, result=description("B"))
    with pytest.raises(RuntimeError, match="here: a trivial mistake"):
        described(tmp_path, failing=["here"])
    with pytest.raises(RuntimeError, match="here: its result is damaged"):
        described(tmp_path, result="{")
    with pytest.raises(ValueError, match="1 x B"):
        described(tmp_path, result=description("B"))
    assert described(tmp_path, result=description("A"))["device_kind"] == "A"


def test_a_result_that_was_removed_is_measured_again(tmp_path):
    run([A, B], tmp_path, Runner())
    A.result(tmp_path).unlink()
    again = Runner()

    run([A, B], tmp_path, again)

    assert again.ran == ["a"]


def test_what_a_stage_lacks_from_earlier_ones_is_its_reason(tmp_path):
    def refuse(out):
        raise LookupError("there is no report of x")

    found = run([made_up("a", later=refuse), B], tmp_path, Runner())

    assert found["a"] == driver.Outcome(state="skipped", reason="there is no report of x")
    assert found["b"].state == "done"


def put(stage, out, document):
    stage.folder(out).mkdir(parents=True)
    stage.result(out).write_text(json.dumps(document))


def test_a_run_is_told_with_its_ratio_to_another(tmp_path):
    stage, base = plan()["chains-apart"], plan()["tf32-batch-16"]
    put(base, tmp_path, REPORT)
    doubled = json.loads(json.dumps(REPORT))
    scores = doubled["report"]["wl-scores"]
    doubled["report"]["wl-scores"] = {name: 2 * score for name, score in scores.items()}
    put(stage, tmp_path, doubled)

    assert answers.answer(stage, tmp_path).endswith("x 2 and 2 of tf32-batch-16")


@pytest.mark.parametrize("scores", [{}, {"training": 1.0}, []])
def test_an_incomplete_report_has_no_answer(tmp_path, scores):
    stage = plan()["float32-batch-16"]
    put(stage, tmp_path, {"report": {"wl-scores": scores, "wl-stats": {"batch_size_total": 1}}})

    assert answers.answer(stage, tmp_path) == ""


def test_what_only_an_accelerator_tells_is_told(tmp_path):
    stage = plan()["tf32-batch-16"]
    report = json.loads(json.dumps(REPORT))
    report["report"]["wl-stats"]["phases"]["training"] |= {
        "share_of_peak": {"share": 0.314},
        "energy": {"events_per_j": 0.512, "mean_power_w": 598.7},
    }
    put(stage, tmp_path, report)

    assert "31 % of peak, 0.512 events/J, 599 W" in answers.answer(stage, tmp_path)

    report["report"]["wl-stats"]["phases"]["training"]["energy"]["is_short"] = True
    stage.result(tmp_path).write_text(json.dumps(report))
    assert "0.512 events/J in too short a time, 599 W" in answers.answer(stage, tmp_path)


def test_two_reproducible_runs_are_compared_with_each_other_and_the_talk(tmp_path):
    first, second = (plan()[f"reproducibility-{number}"] for number in (1, 2))
    put(first, tmp_path, REPORT)
    put(second, tmp_path, REPORT)

    told = answers.answer(second, tmp_path)

    assert "(2022: Nvidia V100 0.9576, Nvidia A100 0.9579, Intel Skylake 40-core 0.9576, " in told
    assert "s (2022: Nvidia V100 65.87, Nvidia A100 24.08)" in told
    assert told.endswith("same digests as the first")

    other = json.loads(json.dumps(REPORT))
    other["report"]["wl-stats"]["params_sha256"] = "0" * 64
    first.result(tmp_path).write_text(json.dumps(other))
    assert answers.answer(second, tmp_path).endswith("OTHER DIGESTS than the first")


def test_the_peers_are_told_as_ratios(tmp_path):
    stage = plan()["peers-tf32-batch-16"]
    put(
        stage,
        tmp_path,
        json.loads((RESULTS / "2026-11-29_epyc-zen5-2-cores_peers-batch-1.json").read_text()),
    )

    told = answers.answer(stage, tmp_path)
    assert "training x 0.729 of jax-tight, 1.9 of pytorch-eager" in told
    assert "; memory x " in told


def test_what_differs_from_the_golden_data_is_named(tmp_path):
    stage = plan()["golden"]
    one = {"holds": False, "quantities": 40, "failed": ["bins/cg_0", "dm/cg_0", "out/pt", "x"]}
    put(stage, tmp_path, {"precisions": {"float32": one}})

    told = "float32 DIFFERS in bins/cg_0, dm/cg_0, out/pt (of 40 quantities)"
    assert answers.answer(stage, tmp_path) == told


def test_a_precision_agrees_within_its_limits_and_not_beyond():
    expected = {
        "loss/total": np.array(10.0),
        "out/pt": np.ones((2, 3)),
        "grads/w": np.ones(4),
        "grads/b": np.zeros(2),
    }

    def found(loss=10.0, outputs=1.0, gradients=1.0):
        computed = types.SimpleNamespace(
            losses=[{"total": loss}],
            outputs={"pt": outputs * expected["out/pt"]},
            gradients={"w": gradients * expected["grads/w"], "b": expected["grads/b"]},
        )
        return agreement.differences(expected, cast(Any, computed))

    assert found() == agreement.Limits(0.0, 0.0, 0.0)
    assert dataclasses.astuple(found(10.05, 1.2, 1.03)) == pytest.approx((0.005, 0.2, 0.03))
    assert agreement.agrees(found(10.05, 1.2, 1.03), "bf16")
    assert not agreement.agrees(found(10.05), "tf32")
    assert not agreement.agrees(found(outputs=1.5), "bf16")
    assert not agreement.agrees(found(gradients=float("nan")), "bf16")


def test_a_profile_tells_the_share_of_the_measured_roof():
    whole = {"num_bytes": 4 * 10**9, "num_launches": 423, "step_s": 0.004}
    roofs = {"flops_per_s": 1e15, "bytes_per_s": 4e12}

    told = answers._of_roof(whole, 1e12, roofs)  # 1 ms each

    assert told == ", 423 launches, 4 GB, 50 % of the roof"
    assert answers._of_roof(whole | {"num_bytes": None}, 1e12, roofs) == ""


def test_a_profile_is_judged_by_the_roofs_of_larger_arrays(tmp_path):
    stage, roofs = plan()["profile-tf32"], plan()["roofs"]
    whole = {"name": "x", "num_bytes": 4 * 10**9, "num_launches": 2, "step_s": 0.004}
    found = {
        "config": {"train": {"batch_size": 1}, "model": {"precision": "tf32"}},
        "flops_per_event": {"infer_flops": 1e12, "train_flops": 1e12},
        "roofs": {"flops_per_s": 0.5e15, "bytes_per_s": 2e12},
        "wholes": [whole | {"breakdown": None}] * 2,
        "on_one_core": [],
    }
    put(stage, tmp_path, found)
    assert "100 % of the roof (not traced)" in answers.answer(stage, tmp_path)

    put(roofs, tmp_path, {"roofs": {"tf32": {"flops_per_s": 1e15, "bytes_per_s": 4e12}}})

    assert "50 % of the roof" in answers.answer(stage, tmp_path)


def measured_peer(name, ratio, peak_bytes):
    other = {"peak_bytes": peak_bytes, "ratio_of_ours": {"value": ratio}}
    return {"contenders": {"training": {"jax": {"peak_bytes": 6}, name: other}}}


def test_the_goals_are_judged_by_what_the_stages_found(tmp_path):
    all_stages = plan()
    rows = questions.table(list(all_stages.values()), tmp_path).rows
    assert {answer for _, answer in rows} == {"open"}

    whole = {"num_bytes": 10**9, "step_s": 0.001, "name": "inference"}
    found = {
        "golden": {"precisions": {"float32": {"holds": True}, "tf32": {"holds": False}}},
        "profile-tf32": {
            "config": {"train": {"batch_size": 16}, "model": {"precision": "tf32"}},
            "flops_per_event": {"infer_flops": 1e9, "train_flops": 1e12},
            "roofs": {"flops_per_s": 1e15, "bytes_per_s": 1e12},
            "wholes": [whole, whole | {"name": "training", "step_s": 0.02}],
            "on_one_core": [],
        },
        "peers-tf32-batch-16": measured_peer("x", 3.5, 10),
        "tf32-batch-16": {"report": {"wl-scores": {"training": 456.8, "inference": 1.0}}},
        "reproducibility-1": REPORT,
        "reproducibility-2": REPORT,
    }
    for name, document in found.items():
        put(all_stages[name], tmp_path, document)
    before = [answer for _, answer in questions.table(list(all_stages.values()), tmp_path).rows]
    put(all_stages["peers-compiled-tf32-batch-16"], tmp_path, measured_peer("y", 2.0, 8))
    after = [answer for _, answer in questions.table(list(all_stages.values()), tmp_path).rows]

    assert before == [
        "NO: tf32",
        "yes: 85 %",
        "yes: 3.5 times x, the only one measured",
        "NO: 0.6 of x",
        "10 times: 456.8 events/s",
        "yes",
    ]
    assert after[2:4] == ["NO: 2 times y", "NO: 0.75 of y"]


def test_a_precision_that_fails_leaves_the_others_on_disk(run_program, monkeypatch, tmp_path):
    def fail(case, dtype, model):
        raise RuntimeError("INTERNAL: ptxas exited\nmore")

    verdict = types.SimpleNamespace(holds=True, checks=[types.SimpleNamespace(holds=True)] * 2)
    monkeypatch.setattr("mlpf_jax.verify.parity.verify", lambda case: verdict)
    monkeypatch.setattr("mlpf_jax.verify.computed.compute", fail)
    stage = plan()["golden"]
    stage.folder(tmp_path).mkdir(parents=True)

    done = run_program(stage.module, f"--json={stage.result(tmp_path)}")

    said = "error: not as the golden data: bf16 (INTERNAL: ptxas exited)\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert answers.answer(stage, tmp_path) == (
        "float32 agrees (2 quantities); tf32 not here; bf16 FAILS (INTERNAL: ptxas exited)"
    )


def test_the_table_has_what_was_found_and_why_the_rest_was_not(tmp_path):
    skipped = made_up("d", cannot="the flags are for GPUs")
    some = [A, made_up("b", kind="golden"), skipped, made_up("e", cannot="the flags are for GPUs")]
    run(some, tmp_path, Runner(failing=["a"]))
    agrees = {"holds": True, "measured": {"gradients": 0.002}}
    found = {"precisions": {"bf16": agrees, "tf32": {"skipped": "no"}}}
    some[1].result(tmp_path).write_text(json.dumps(found))

    view = table.view([*some, made_up("f")], tmp_path)

    assert view.tables[0].rows == (
        ("a", "failed: a trivial mistake", "10"),
        ("b", "bf16 agrees (gradients to 0.002); tf32 not here", "10"),
    )
    assert view.notes == ("skipped d, e: the flags are for GPUs", "skipped f: not reached")


def test_a_rehearsal_answers_no_question(tmp_path):
    put(made_up("tf32-batch-16", kind="run"), tmp_path, REPORT)

    real, rehearsed = (
        table.view(list(plan().values()), tmp_path, is_rehearsal=is_rehearsal)
        for is_rehearsal in (False, True)
    )

    answered = [row[0] for row in real.tables[1].rows if row[1] != "open"]
    assert answered == ["times the A100 of 2022, which trained 45.68 events/s"]
    assert len(rehearsed.tables) == 1
    assert rehearsed.notes[0].startswith("a rehearsal with a small network")


def test_a_gpu_is_described_with_its_driver_and_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml.module(fake_nvml.Card()))
    monkeypatch.setattr(runtimes, "cuda_uuids", lambda ordinals: [fake_nvml.Card().uuid[4:]])
    monkeypatch.setattr(facts, "missing", lambda: {"torch": "PyTorch"})
    gpu = types.SimpleNamespace(
        platform="gpu",
        device_kind="NVIDIA H200",
        compute_capability="9.0",
        local_hardware_id=0,
        memory_stats=lambda: {"bytes_limit": 105 * 2**30},
        client=types.SimpleNamespace(platform_version="PJRT C API\ncuda 13000"),
    )

    found = facts.describe([gpu])

    assert (found["has_tf32"], found["memory_bytes"]) == (True, 105 * 2**30)
    assert found["has_energy_counter"]
    assert found["telemetry"]["GPU 0"]["now"]["clock_mhz"] == 1755
    stage = stages.first(is_rehearsal=False)
    put(stage, tmp_path, found)
    told = answers.answer(stage, tmp_path)
    assert told.startswith("1 x NVIDIA H200, 105 GiB for JAX, driver 580.159.03, 1755 MHz, jax ")
    assert told.endswith("missing: torch")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "--out: give a folder"),
        (["--platform=cpu", "--out=x"], "--platform=cpu: only for a --rehearsal"),
        (["--out=tests"], "tests: not empty"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(run_program, words, complaint):
    done = run_program("benchmarks.accelerator", *words)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


HIDDEN = ("jinja2", "jsonschema", "matplotlib", "tensorflow", "pynvml")
HIDE = f"""
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        hidden = name.partition(".")[0] in {HIDDEN}
        return None if hidden else self.finder.find_spec(name, *rest)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


@pytest.mark.slow
def test_a_rehearsal_goes_through_all_stages_without_what_a_host_may_lack(
    tmp_path, quick_xla_flags
):
    (tmp_path / "usercustomize.py").write_text(HIDE)
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "JAX_PLATFORMS": "",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": quick_xla_flags,
    }
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.accelerator", "--platform=cpu", "--rehearsal"]

    done = subprocess.run(
        [*command, "--budget_s=1500", f"--out={out}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "stages" / "here" / "result.json").read_text())
    assert set(HIDDEN) - {"tensorflow"} <= set(found["missing"])
    outcomes = {p.stem: json.loads(p.read_text()) for p in (out / "outcomes").glob("*.json")}
    reasons = ("not rehearsed", "the device has no TF32", "PyTorch is not installed", "4 dev", "8 ")
    for name, outcome in outcomes.items():
        assert outcome["state"] == "done" or outcome["reason"].startswith(reasons), name
    assert sum(outcome["state"] == "done" for outcome in outcomes.values()) >= 15
    assert "same digests as the first" in (out / "table.md").read_text()


@pytest.mark.slow
def test_xla_knows_all_flags_of_the_plan():
    given = [flag for stage in plan().values() if (flag := stage.environ.get("XLA_FLAGS"))]

    xla_flags.check([word for flags in given for word in xla_flags.read(flags)], os.environ)
