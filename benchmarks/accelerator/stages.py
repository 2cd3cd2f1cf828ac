"""The stages: what is run, in order of value, and where. No processes, no JAX."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlpf_jax.measure import xla_flags as xla_flags_lib
from mlpf_jax.report import hepscore

Kind = Literal["here", "golden", "roofs", "run", "peers", "profile"]

_NUM_STEPS = {1: 400, 4: 200, 16: 100, 64: 40}  # by batch: ten samples of 0.2 s and more
_MOST_EVENTS = 1024  # of the largest batch
_FEWER = 8  # by this factor, the batches of a rehearsal are smaller
_ROOM = 0.9  # share of the memory that it may fill
_EAGER, _COMPILED = _BOTH = ("pytorch-eager", "pytorch-compile")
_AS_ON_DEVICE = ("--events_at_once=0", "--stacks_chains")
_CACHED = "--nomeasure_compile"  # takes programs from the cache, or puts them there
_BRIEF = "--noextra_samples"  # those for the energy take up to 10 s in each of two phases
_EFFORT = {"JAX_OPTIMIZATION_LEVEL": "O3"}
_UNBUFFERED = "--xla_gpu_enable_command_buffer="
_NONDETERMINISTIC = "--xla_gpu_deterministic_ops=false"  # and so autotuned
_UNTUNED = f"{_NONDETERMINISTIC} --xla_gpu_autotune_level=0"
_AS_IN_RUNS = "--xla_gpu_deterministic_ops=true"  # otherwise mlpf_jax/runtime.py sets it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """What the stages depend on: the facts found by the first one, and the request."""

    facts: Mapping[str, Any]
    is_rehearsal: bool = False
    has_torch: bool = True
    data_dir: str | None = None

    @property
    def fast(self) -> str:
        """The precision of most stages: TF32 where the device has it."""
        return "tf32" if self.facts["has_tf32"] else "bf16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One process. Its answer is read from a file in a folder of its own."""

    name: str
    kind: Kind
    module: str
    arguments: tuple[str, ...] = ()
    estimate_s: float  # a guess for an H100
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    base: str | None = None  # the stage to compare with
    cannot: str | None = None  # why it cannot be run here
    # Arguments that depend on the results of earlier stages in a folder; LookupError: why not.
    later: Callable[[Path], Sequence[str]] | None = None

    def folder(self, out: Path) -> Path:
        """Returns its folder; reports have one without other files."""
        return out / ("runs" if self.kind == "run" else "stages") / self.name

    def result(self, out: Path) -> Path:
        """Returns the file that it writes."""
        return self.folder(out) / (hepscore.FILE_NAME if self.kind == "run" else "result.json")

    def command(self, out: Path) -> list[str]:
        """Returns its arguments.

        Raises:
            LookupError: if results of earlier stages are missing; the text says which.
        """
        target = [f"--json={self.result(out)}"]
        if self.kind == "run":
            target = [f"--results_dir={self.folder(out)}", f"--compilation_cache={out}/programs"]
        return [*self.arguments, *(self.later(out) if self.later else ()), *target]


def first(*, is_rehearsal: bool) -> Stage:
    """Returns the stage that finds the facts for all others."""
    return Stage(
        name="here",
        kind="here",
        module="benchmarks.accelerator.here",
        arguments=("--num_devices=2",) if is_rehearsal else (),
        estimate_s=15,
    )


def rest(place: Place) -> tuple[Stage, ...]:
    """Returns all other stages, in order of value."""
    return tuple(_rest(place))


def _rest(place: Place) -> Iterator[Stage]:
    run, profile, peers = (functools.partial(f, place) for f in (_run, _profile, _peers))
    fast, base = place.fast, f"{place.fast}-batch-16"
    yield _golden(place, "golden", "xla")
    yield _roofs(place)
    yield run("float32-batch-16", _CACHED, precision="float32")
    if fast != "bf16":
        yield run(base, base="float32-batch-16")
    else:
        yield run("tf32-batch-16", precision="tf32", cannot="the device has no TF32")
    yield run("bf16-batch-16", precision="bf16", base="float32-batch-16")
    yield peers(f"peers-{fast}-batch-16", _EAGER, precision=fast, batch=16)
    yield profile(f"profile-{fast}", precision=fast)
    yield from _reproducibility(place)
    yield run("nondeterministic", base=base, xla_flags=_NONDETERMINISTIC, estimate_s=80)
    yield run("cublas", base=base, xla_flags=xla_flags_lib.CUBLAS, again="other XLA flags")
    yield peers(f"peers-compiled-{fast}-batch-16", _COMPILED, precision=fast, batch=16)
    yield from _kernel(place)
    yield run(f"{fast}-batch-1", batch=1, base=base, again="another batch")
    yield run(f"{fast}-batch-64", batch=64, base=base)
    yield run(f"{fast}-batch-largest", base=base, later=functools.partial(_largest, place))
    for precision in dict.fromkeys((fast, "bf16")):
        yield _energy(place, precision)
    yield run("chains-apart", "--nostacks_chains", base=base)
    for number in (2, 4, 8):
        yield _devices(place, number)
    yield peers("peers-float32-batch-16", *_BOTH, precision="float32", batch=16)
    if fast != "bf16":
        yield peers("peers-bf16-batch-16", *_BOTH, precision="bf16", batch=16)
    yield peers(f"peers-{fast}-batch-1", *_BOTH, precision=fast, batch=1)
    yield run("shard-map", "--parallel=shard_map", base=base)
    yield run("no-autotuning", base="nondeterministic", xla_flags=_UNTUNED, again="other XLA flags")
    yield run("no-command-buffers", base=base, xla_flags=_UNBUFFERED, again="other XLA flags")
    yield run("optimization-level-O3", base=base, environ=_EFFORT, again="another variable")
    yield run(f"{fast}-batch-4", batch=4, base=base, again="another batch")
    yield profile("profile-float32", precision="float32", again="another precision")


def _run(
    place: Place,
    name: str,
    *flags: str,
    precision: str | None = None,
    batch: int = 16,
    xla_flags: str = "",
    environ: Mapping[str, str] | None = None,
    base: str | None = None,
    cannot: str | None = None,
    again: str | None = None,
    later: Callable[[Path], Sequence[str]] | None = None,
    estimate_s: float = 40,
) -> Stage:
    """Returns a run of the benchmark on one device."""
    if xla_flags and not place.is_rehearsal and place.facts["platform"] != "gpu":
        cannot = "the flags are for GPUs"
    size = ["--num_train_events=640", "--num_test_events=64", f"--num_steps={_NUM_STEPS[batch]}"]
    size.append("--num_infer_samples=12")
    if place.is_rehearsal:
        size, batch = _tiny_run(), max(1, batch // _FEWER)
    return Stage(
        name=name,
        kind="run",
        module="mlpf_jax.main",
        arguments=(
            *_common(place),
            *size,
            "--num_devices=1",
            f"--batch_size={batch}",
            f"--precision={precision or place.fast}",
            *flags,
        ),
        estimate_s=estimate_s,
        environ=dict(environ or {}) | ({"XLA_FLAGS": xla_flags} if xla_flags else {}),
        base=base,
        cannot=cannot or _rehearsed(place, again),
        later=later,
    )


def _common(place: Place) -> list[str]:
    # A stage is a run of its own, whatever has started this program.
    return [f"--platform={place.facts['platform']}", "--distributed=off", _BRIEF, *_data(place)]


def _data(place: Place) -> list[str]:
    return [f"--data_dir={place.data_dir}"] if place.data_dir else []


def _tiny_run() -> list[str]:
    layers = ["--num_id_layers=1", "--num_energy_layers=1", "--num_infer_samples=3"]
    events = ["--num_train_events=8", "--num_test_events=2", "--num_steps=6"]
    return ["--preset=smoke", *layers, *events, *_AS_ON_DEVICE, "--nomeasure_compile"]


def _rehearsed(place: Place, again: str | None) -> str | None:
    """A rehearsal leaves out what differs from another stage only in a value."""
    if not (again and place.is_rehearsal):
        return None
    return f"not rehearsed: an earlier stage with {again}"


def _reproducibility(place: Place) -> Iterator[Stage]:
    for number in (1, 2):
        preset = _tiny_run() if place.is_rehearsal else ["--preset=reproducibility"]
        # The second takes the programs of float32-batch-16: so two compilations are compared.
        own = [_CACHED] if number > 1 else []
        yield Stage(
            name=f"reproducibility-{number}",
            kind="run",
            module="mlpf_jax.main",
            arguments=(*_common(place), *preset, "--num_devices=1", *own),
            estimate_s=40 if own else 75,
            base="reproducibility-1" if number > 1 else None,
        )


def _energy(place: Place, precision: str) -> Stage:
    can = place.facts["has_energy_counter"] or place.is_rehearsal
    return _run(
        place,
        f"energy-{precision}",
        "--extra_samples",
        precision=precision,
        base=f"{precision}-batch-16",
        cannot=None if can else "the device has no counter of energy",
        again="fewer samples",
        estimate_s=60,
    )


def _devices(place: Place, number: int) -> Stage:
    there = place.facts["num_devices"]
    stage = _run(place, f"devices-{number}", base=f"{place.fast}-batch-16")
    # A whole batch of test events.
    events = [] if place.is_rehearsal else [f"--num_test_events={max(64, 16 * number)}"]
    return dataclasses.replace(
        stage,
        arguments=(*stage.arguments, f"--num_devices={number}", *events),
        cannot=None if there >= number else f"{number} devices, and there are {there}",
    )


def _kernel(place: Place) -> Iterator[Stage]:
    is_cpu, only_tpu = place.facts["platform"] == "cpu", None
    if place.facts["platform"] == "gpu":
        only_tpu = "the fused kernel is for TPUs"
    golden, flag = ("interpret", "interpret") if is_cpu else ("mosaic", "pallas")
    base = f"{place.fast}-batch-16"
    yield _golden(place, "golden-kernel", golden, cannot=only_tpu)
    yield _run(place, f"{place.fast}-kernel", f"--pair_kernel={flag}", base=base, cannot=only_tpu)


def _golden(place: Place, name: str, kernel: str, *, cannot: str | None = None) -> Stage:
    tiny = ["--precision=bf16" if kernel != "xla" else "--precision=float32"]  # both comparisons
    quickly = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} if place.is_rehearsal else {}
    flags = {"XLA_FLAGS": _AS_IN_RUNS} if place.facts["platform"] == "gpu" else {}
    return Stage(
        name=name,
        kind="golden",
        module="benchmarks.accelerator.golden",
        arguments=(f"--pair_kernel={kernel}", *(tiny if place.is_rehearsal else [])),
        estimate_s=60,
        environ=quickly | flags,
        cannot=cannot,
    )


def _roofs(place: Place) -> Stage:
    return Stage(
        name="roofs",
        kind="roofs",
        module="benchmarks.accelerator.roofs",
        arguments=("--size=512", "--copied_mb=16") if place.is_rehearsal else (),
        estimate_s=25,
    )


def _profile(place: Place, name: str, *, precision: str, again: str | None = None) -> Stage:
    platform, size = place.facts["platform"], ["--batch=16"]
    if place.is_rehearsal:
        size = ["--network=small", "--num_elements=256", "--batch=2", "--samples=3"]
    return Stage(
        name=name,
        kind="profile",
        module="benchmarks.step",
        arguments=(f"--precision={precision}", "--only_trace", *size, *_data(place)),
        estimate_s=60,
        # A trace does not name the operations inside a command buffer.
        environ={"XLA_FLAGS": _UNBUFFERED} if platform == "gpu" else {},
        cannot=_rehearsed(place, again),
    )


def _peers(place: Place, name: str, *contenders: str, precision: str, batch: int) -> Stage:
    """A rehearsal has one such stage: to compile takes longer than all its other stages."""
    platform = place.facts["platform"]
    size = [f"--batch={batch}", "--windows=10"]
    if place.is_rehearsal:
        size = ["--network=small", "--num_elements=256", "--batch=2"]
    cannot = None if place.has_torch else "PyTorch is not installed"
    if platform not in ("cpu", "gpu"):
        cannot = f"PyTorch does not run on a {platform} here"
    again = None if contenders == (_EAGER,) else "other contenders"
    return Stage(
        name=name,
        kind="peers",
        module="benchmarks.peers",
        arguments=(
            f"--device={platform}",
            f"--precision={precision}",
            f"--contenders={','.join(contenders)}",
            "--max_sets=1",
            *size,
            *_data(place),
        ),
        estimate_s=60 if contenders == (_EAGER,) else 150,
        cannot=cannot or _rehearsed(place, again),
    )


def _largest(place: Place, out: Path) -> list[str]:
    """Returns the arguments for the largest batch that fits, by the memory of two smaller ones.

    Raises:
        LookupError: if their reports are missing, or the device does not tell its memory.
    """
    limit = place.facts["memory_bytes"]
    if limit is None:
        raise LookupError("the device does not tell its memory")
    folders = {n: out / "runs" / f"{place.fast}-batch-{n}" for n in (1, 16, 64)}
    known = [(n, used) for n, folder in folders.items() if (used := _memory_bytes(folder))]
    if len(known) < 2:
        raise LookupError("there are no reports of two batches to follow the memory from")
    (few, used_by_few), (many, used_by_many) = known[-2:]  # 64 may not have fitted
    per_event = (used_by_many - used_by_few) / (many - few)
    if per_event <= 0:
        raise LookupError("the memory does not grow with the batch")
    number = int((_ROOM * limit - used_by_few) / per_event) + few
    batch = min(max(number // 16 * 16, 16), _MOST_EVENTS)
    if place.is_rehearsal:
        return [f"--batch_size={64 // _FEWER}"]  # of which there is a program
    events = [f"--num_train_events={2 * batch}", f"--num_test_events={batch}"]
    return [f"--batch_size={batch}", "--num_steps=10", *events]


def _memory_bytes(folder: Path) -> int | None:
    try:
        report = json.loads((folder / hepscore.FILE_NAME).read_text())
        phase = report["report"]["wl-stats"]["phases"]["training"]
        return phase["memory_per_device"]["total_bytes"]
    except (OSError, ValueError, KeyError):
        return None
