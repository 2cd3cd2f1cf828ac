"""Plans the four scaling studies: their points, and the settings of their runs."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlpf_jax import config as config_lib
from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import documents, engine, findings, runs

_TALKS_BATCH = 16  # total batch in the reproducibility table of the talk of 2022
_NUM_HALVINGS = 3  # halvings of the training events
_VARIED = ("batch_size", "global_batch_size", "seed")
_READ = (*_VARIED, "num_train_events", "num_epochs", "steps_per_epoch", "num_steps")
_ONE_DEVICE = "--num_devices=1"  # a preset says so; the study's own number comes later and wins
_REFUSED = {
    "num_devices": "the study sets it, up to --max_devices.",
    "results_dir": "every run has its own in --out.",
    "compilation_cache": "all runs share one in --out.",
    "checkpoint": "runs cannot share it.",
    "fit": "it does not run the benchmark.",
    "flagfile": "it must be read before.",
    "preset": "give its file, --flagfile=flags/NAME.cfg.",
}


def _kind(
    name: str, title: str, kept: str, flag: str, law: scaling_laws.Law | None = None
) -> findings.Kind:
    label = documents.AXIS_LABELS[flag]
    return findings.Kind(name=name, title=title, kept=kept, flag=flag, label=label, law=law)


KINDS: Mapping[str, findings.Kind] = {
    kind.name: kind
    for kind in (
        _kind("weak", "Weak scaling", "the same batch per device", "num_devices", "Gustafson"),
        _kind(
            "strong",
            "Strong scaling",
            "the same batch on all devices together",
            "num_devices",
            "Amdahl",
        ),
        _kind("batch", "Batch size", "one device", "batch_size"),
        _kind("data", "Training events", "as many updates", "num_train_events"),
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The requested studies."""

    studies: tuple[str, ...]  # of KINDS
    arguments: tuple[str, ...]  # of every run, --name=value; without varied settings
    max_devices: int
    repeats: int
    batch_size: int  # per device; constant in weak scaling
    global_batch_size: int  # constant in strong scaling and in the scan of training events
    max_batch_size: int  # largest batch of the scan of batches
    seed: int  # seed of the first round
    num_train_events: int  # largest number in the scan of training events; 0 if not given
    num_steps: int  # likewise

    def points(self) -> dict[str, tuple[engine.Point, ...]]:
        """Returns the points of every study, in the order of its axis."""
        return {study: tuple(map(engine.Point.of, _POINTS[study](self))) for study in self.studies}

    def sweep(self) -> engine.Sweep:
        """Returns the sweep to run: each point once, even if several studies share it."""
        every = {point for points in self.points().values() for point in points}
        return engine.Sweep(
            points=tuple(sorted(every, key=lambda point: [v for _, v in point.settings])),
            arguments=self.arguments,
            repeats=self.repeats,
            seed=self.seed,
        )

    def findings(
        self, results: Mapping[engine.Point, runs.PointResult], provenance: Mapping[str, Any]
    ) -> findings.Findings:
        """Returns the findings from the runs."""
        return findings.Findings(
            provenance=provenance,
            arguments=self.arguments,
            repeats=self.repeats,
            results=tuple(results.values()),
            series=tuple(
                findings.series(KINDS[study], [results[point] for point in points])
                for study, points in self.points().items()
            ),
            batch_rows=findings.batch_rows(results.values()),
        )


def make(
    studies: Sequence[str],
    arguments: Sequence[str],
    *,
    max_devices: int,
    repeats: int,
    max_batch_size: int | None = None,
) -> Plan:
    """Makes a plan from the arguments that all runs share, with flag files expanded.

    --batch_size is constant in weak scaling, --global_batch_size in strong scaling; if one is
    missing, they agree at the largest number of devices. Epochs are whole passes unless
    --steps_per_epoch or --num_steps is given, so that all batches see the same events.

    Raises:
        engine.StudyError: if an argument cannot be shared, or a batch cannot be shared evenly.
    """
    values = _read(arguments)
    _require_positive({"max_devices": max_devices, "repeats": repeats})
    total, each = values.get("global_batch_size"), values.get("batch_size")
    if total is None:
        total = max(_TALKS_BATCH, max_devices) if each is None else each * max_devices
    if each is None:
        each = max(1, total // max_devices)
    made = Plan(
        studies=tuple(studies),
        arguments=("--steps_per_epoch=0", *(a for a in arguments if _name(a) not in _VARIED)),
        max_devices=max_devices,
        repeats=repeats,
        batch_size=each,
        global_batch_size=total,
        max_batch_size=total if max_batch_size is None else max_batch_size,
        seed=values.get("seed", config_lib.RunConfig().seed),
        num_train_events=values.get("num_train_events", 0),
        num_steps=_num_steps(values, total),
    )
    _check(made)
    return made


def _name(argument: str) -> str:
    return argument.partition("=")[0].lstrip("-").replace("-", "_")


def _read(arguments: Sequence[str]) -> dict[str, int]:
    values = {}
    for argument in arguments:
        if not re.match(r"--?[a-zA-Z]", argument):
            raise engine.StudyError(f"{argument}: write settings of the runs as --name=value.")
        name, value = _name(argument), argument.partition("=")[2]
        if name in _REFUSED and argument != _ONE_DEVICE:
            raise engine.StudyError(
                f"{argument}: not allowed for the runs of a study: {_REFUSED[name]}"
            )
        if name in _READ:
            if not re.fullmatch(r"\d{1,9}", value):
                raise engine.StudyError(f"{argument}: must be a whole number.")
            values[name] = int(value)
    return values


def _num_steps(values: dict[str, int], batch_size: int) -> int:
    """Returns the number of updates over all training events; 0 if the arguments do not give it."""
    if values.get("num_steps"):
        return values["num_steps"]
    whole_pass = -(-values.get("num_train_events", 0) // max(1, batch_size))
    return values.get("num_epochs", 0) * (values.get("steps_per_epoch") or whole_pass)


def _require_positive(sizes: Mapping[str, int]) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise engine.StudyError(f"--{name}={value}: must be at least 1.")


def _check(plan: Plan) -> None:
    _require_positive(
        {
            "batch_size": plan.batch_size,
            "global_batch_size": plan.global_batch_size,
            "max_batch_size": plan.max_batch_size,
        }
    )
    if not plan.studies:
        raise engine.StudyError(f"--study: give one or more of {', '.join(KINDS)}.")
    for number in _doublings(plan.max_devices) if "strong" in plan.studies else ():
        if plan.global_batch_size % number:
            raise engine.StudyError(
                f"--global_batch_size={plan.global_batch_size} cannot be divided evenly among "
                f"{number} devices, as strong scaling requires: choose another, or another "
                "--max_devices."
            )
    if "data" in plan.studies and not (plan.num_train_events and plan.num_steps):
        raise engine.StudyError(
            "--study=data needs --num_train_events, and --num_epochs or --num_steps, among the "
            "settings of the runs: -- --num_train_events=1100 --num_epochs=5"
        )


def _doublings(limit: int) -> list[int]:
    """Returns 1, 2, 4 and so on, and the limit itself."""
    return sorted({*(2**power for power in range(limit.bit_length())), limit})


def _weak(plan: Plan) -> Iterator[dict[str, engine.Value]]:
    for number in _doublings(plan.max_devices):
        yield {"num_devices": number, "batch_size": plan.batch_size}


def _strong(plan: Plan) -> Iterator[dict[str, engine.Value]]:
    for number in _doublings(plan.max_devices):
        yield {"num_devices": number, "batch_size": plan.global_batch_size // number}


def _batch(plan: Plan) -> Iterator[dict[str, engine.Value]]:
    for batch_size in _doublings(plan.max_batch_size):
        yield {"num_devices": 1, "batch_size": batch_size}


def _data(plan: Plan) -> Iterator[dict[str, engine.Value]]:
    """Halves the training events while they fill a batch, with a constant number of updates.

    With a constant number of epochs, fewer events would also mean fewer updates, and the two
    effects could not be separated.
    """
    sizes = {-(-plan.num_train_events // 2**power) for power in range(_NUM_HALVINGS + 1)}
    for size in sorted(sizes):
        if size >= plan.global_batch_size or size == plan.num_train_events:
            yield {
                "num_devices": 1,
                "batch_size": plan.global_batch_size,
                "num_train_events": size,
                "num_steps": plan.num_steps,
            }


_POINTS: dict[str, Callable[[Plan], Iterator[dict[str, engine.Value]]]] = {
    "weak": _weak,
    "strong": _strong,
    "batch": _batch,
    "data": _data,
}
