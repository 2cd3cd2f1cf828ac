"""The fields of a report, declared once: HEPscore's workload report with this project's fields.

To add a field, add one declaration here, in `app` or in `phase`, with its place in the JSON, the
allowed values, and the attribute of the result (or a function of the result):

    is_pinned = optional(_STATS, BOOLEAN, "is_pinned")

The writer, the JSON schema, the reader (`report.is_pinned`) and the validation follow. A field that
older files lack is `optional`, and is read as None, or has `absent`, the value to read instead. If
a difference matters in comparisons, `compared` gives the category, name and effect:

    compared=fact("settings", "pinned", marks(PHASES, "threads may have moved between cores"))

Contract: hep-workloads' `<workload>_summary.json`, read by hep-score. Scores are bare numbers,
higher is better. Everything else is under `wl-stats`, `run_info` and `app`, because hep-score drops
other top-level keys.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from mlpf_jax import config as config_lib
from mlpf_jax.measure import identity as identity_lib
from mlpf_jax.report import app, consumption, settings
from mlpf_jax.report import phase as phase_lib
from mlpf_jax.report import result as result_lib
from mlpf_jax.report.fields import (
    ALL,
    ANY,
    BOOLEAN,
    COUNT,
    FRACTION,
    LEFT_OUT,
    NONNEGATIVE,
    NUMBER,
    PHASES,
    POSITIVE,
    SHA256,
    SIZE,
    TEXT,
    Derived,
    Family,
    Field,
    Kind,
    Record,
    Told,
    fact,
    facts_of,
    keyed,
    listed,
    marks,
    maybe,
    one_of,
    optional,
    refuses,
    schema_of,
    shaped,
    written,
)

_RUN_INFO = "run_info/"
_STATS = "report/wl-stats/"
_SCORE = "^(training|inference)(-tf32|-bf16)?(-tight)?$"


_DATASET = Kind[Mapping[str, Any]](
    {
        "type": "object",
        "required": [field.name for field in dataclasses.fields(result_lib.DatasetResult)],
        "properties": {
            "provenance": shaped(kind=ANY, process=ANY).schema,
            "num_events": COUNT.schema,
            "sha256": SHA256.schema,
        },
    }
)


_COST = Kind[Mapping[str, Any]](
    {
        **shaped(price_per_hour=POSITIVE, currency=maybe(TEXT)).schema,
        "additionalProperties": maybe(NONNEGATIVE).schema,  # of the training, with its ends
    }
)
_PROCESS = shaped(
    process_id=SIZE,
    host=TEXT,
    num_devices=COUNT,
    step_s=keyed(POSITIVE),
    params_sha256=SHA256,
    doubts=listed(TEXT),
)


def _trained(of: Callable[[result_lib.RunResult], Any]) -> Callable[[result_lib.RunResult], Any]:
    """Returns a function whose value is left out for runs without training."""
    return lambda run: of(run) if run.epochs else LEFT_OUT


def _of_epochs(name: str) -> Callable[[result_lib.RunResult], Any]:
    """Returns a function for a list with a value per epoch, for runs with training."""
    return _trained(lambda run: [getattr(epoch, name) for epoch in run.epochs])


def _qualities(run: result_lib.RunResult) -> dict[str, list[float | None]]:
    """A list with a value per epoch for each loss and accuracy."""
    found = {
        "train": [epoch.train for epoch in run.epochs],
        "val": [epoch.validation for epoch in run.epochs],
        "inference": [run.inference_quality] if run.inference_quality else [],
    }
    fields = {}
    for prefix, qualities in found.items():
        for loss in qualities[0].losses if qualities else ():
            name = f"{prefix}_loss" if loss == "total" else f"{prefix}_{loss}_loss"
            values = [quality.losses[loss] for quality in qualities]
            # JSON has no NaN. Such a run has no score, so no reader gets to see the null.
            fields[name] = [value if math.isfinite(value) else None for value in values]
        for name in ("accuracy", "real_accuracy", "weighted_accuracy") if qualities else ():
            fields[f"{prefix}_{name}"] = [getattr(quality, name) for quality in qualities]
    return fields


def _events(name: str):
    def tell(data: Mapping[str, Any]) -> Iterator[Told]:
        yield "events", f"{name} events", data["sha256"], ()
        yield "events", f"number of {name} events", data["num_events"], ()

    return facts_of(tell)


def _sensors(telemetry: Mapping[str, Any]) -> Iterator[Told]:
    """Yields facts of the devices, if their telemetry was recorded."""
    for name, source in telemetry["sources"].items():
        described = source["description"]
        yield "compiler", f"driver of {name}", described.get("driver"), ()
        yield "hardware", f"share of {name}", described.get("share"), ()
        yield "hardware", f"power limit of {name}", described.get("power_limit_w"), ()


class _Run(Record):
    """The parts `run_info` and `report`."""

    copies = Field(
        _RUN_INFO,
        COUNT,
        lambda run: 1,
        compared=fact(
            "settings", "copies", marks(PHASES, "another number of copies shares the machine")
        ),
    )
    threads_per_copy = Field(_RUN_INFO, COUNT, lambda run: run.environment["runtime"]["num_cores"])
    events_per_thread = Field(_RUN_INFO, COUNT, "config.data.num_train_events")
    extra_arguments = Field(_RUN_INFO, TEXT, "extra_arguments")
    num_devices = Field(_RUN_INFO, COUNT, "config.num_devices")
    seed = Field(_RUN_INFO, SIZE, "config.seed")
    precision = Field(
        _RUN_INFO,
        one_of(*get_args(config_lib.Precision)),
        "config.model.precision",
        compared=fact(
            "settings",
            "precision",
            refuses(PHASES, "another precision is another score"),
            marks(("epochs",), "another precision"),
        ),
    )
    padding = Field(
        _RUN_INFO,
        one_of(*get_args(config_lib.Padding)),
        "config.data.padding",
        # For some time only in the configuration; before that there was no choice.
        absent=lambda report: report.config["data"].get("padding") or "full",
        compared=fact(
            "settings", "padding", refuses(ALL, "another padding, so other work per event")
        ),
    )
    is_emulated = Field(
        _RUN_INFO,
        BOOLEAN,
        "is_emulated",
        compared=fact(
            "settings",
            "emulated devices",
            refuses(ALL, "virtual devices on a CPU say nothing about real devices"),
            show=lambda is_emulated: "yes" if is_emulated else "no",
        ),
    )
    virtual_devices = Derived[int](
        lambda report: len(report.devices) if report.is_emulated else 0,
        fact("settings", "virtual devices"),
    )
    config = Field(
        _RUN_INFO,
        shaped(model=keyed(ANY), data=keyed(ANY), train=keyed(ANY), mode=ANY, parallel=ANY),
        "config",
        compared=facts_of(settings.tell, *settings.EFFECTS),
    )

    scores = Field(
        "report/wl-scores",
        Kind[Mapping[str, float]](
            {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": _SCORE},
                "additionalProperties": POSITIVE.schema,
            }
        ),
        lambda run: (
            LEFT_OUT
            if run.no_score
            else {run.score_name(n): phase.score.median for n, phase in run.phases.items()}
        ),
    )
    no_score = optional(_STATS, TEXT, lambda run: run.no_score or LEFT_OUT)
    not_finite_steps = optional(_STATS, listed(COUNT), lambda run: run.not_finite_steps or LEFT_OUT)
    score_summaries = Family(
        _STATS,
        _SCORE,
        phase_lib.SUMMARY,
        lambda run: {run.score_name(name): phase.score for name, phase in run.phases.items()},
    )
    # The statistics of 2022, under their original names.
    num_gpus = Field(
        f"{_STATS}GPU",
        SIZE,
        lambda run: 0 if run.devices[0].platform == "cpu" else len(run.devices),
    )
    num_cpus = Field(f"{_STATS}CPU", SIZE, lambda run: int(run.devices[0].platform == "cpu"))
    train_set_size = Field(_STATS, COUNT, "config.data.num_train_events")
    test_set_size = Field(_STATS, COUNT, "config.data.num_test_events")
    batch_size_per_device = Field(
        _STATS,
        COUNT,
        "config.train.batch_size",
        compared=fact("settings", "batch per device", marks(PHASES, "another batch per device")),
    )
    batch_size_total = Field(
        _STATS,
        COUNT,
        "config.global_batch_size",
        compared=fact(
            "settings",
            "global batch",
            marks(("epochs",), "another batch in total, so another training"),
        ),
    )
    mean_throughput = optional(_STATS, POSITIVE, _trained(lambda run: run.mean_throughput))
    mean_epoch_time = optional(_STATS, POSITIVE, _trained(lambda run: run.mean_epoch_time))
    num_epochs = optional(_STATS, COUNT, _trained(lambda run: len(run.epochs)))
    epoch_times = optional(_STATS, listed(NONNEGATIVE, 1), _of_epochs("seconds"))
    validation_times = optional(_STATS, listed(NONNEGATIVE, 1), _of_epochs("validation_s"))
    throughput_per_epoch = optional(_STATS, listed(NONNEGATIVE, 1), _of_epochs("events_per_s"))
    train_time = optional(_STATS, NONNEGATIVE, _trained(lambda run: run.train_seconds))
    steps_per_epoch = optional(_STATS, COUNT, _trained(lambda run: run.epochs[0].num_steps))
    events_per_epoch = optional(_STATS, COUNT, _trained(lambda run: run.epochs[0].num_events))
    steps_by_epoch = optional(
        _STATS,
        listed(COUNT, 1),
        _of_epochs("num_steps"),
        compared=fact("settings", "steps by epoch", marks(("epochs",), "another number of steps")),
    )
    losses = Family(
        _STATS,
        "_loss$",
        listed(NUMBER, 1),
        lambda run: {k: v for k, v in _qualities(run).items() if k.endswith("_loss")},
    )
    accuracies = Family(
        _STATS,
        "_accuracy$",
        listed(NONNEGATIVE, 1),
        lambda run: {k: v for k, v in _qualities(run).items() if k.endswith("_accuracy")},
    )
    inference_weights = optional(
        _STATS,
        one_of("trained", "checkpoint", "initial"),
        lambda run: run.inference_weights if run.inference_quality else LEFT_OUT,
    )

    started_at = Field(_STATS, TEXT, "started_at")  # ISO 8601
    finished_at = Field(_STATS, TEXT, "finished_at")
    init_s = Field(_STATS, NONNEGATIVE, "init_s")
    phase_documents = Field(
        f"{_STATS}phases",
        Kind[Mapping[str, Any]](
            {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"enum": list(PHASES)},
                "additionalProperties": schema_of(phase_lib.Phase),
            }
        ),
        lambda run: {
            name: written(phase_lib.Phase, phase, run) for name, phase in run.phases.items()
        },
        compared=facts_of(
            lambda phases: [
                ("program", f"{name} step", phase["program_sha256"], ())
                for name, phase in phases.items()
            ]
        ),
    )
    train_data = Field(
        f"{_STATS}data/train", maybe(_DATASET), "train_data", compared=_events("train")
    )
    test_data = Field(f"{_STATS}data/test", _DATASET, "test_data", compared=_events("test"))
    input_times = optional(f"{_STATS}input", maybe(keyed(NONNEGATIVE)), "input_times")
    peak_device_bytes = Field(f"{_STATS}memory/", maybe(SIZE), "peak_device_bytes")
    peak_process_bytes = Field(f"{_STATS}memory/", maybe(SIZE), "peak_process_bytes")
    machine_states = optional(
        f"{_STATS}machine",
        shaped(before=ANY, after=ANY, swapped_pages=ANY, throttle_events=ANY),
        lambda run: {
            **dataclasses.asdict(run.machine),
            "swapped_pages": run.machine.swapped_pages,
            "throttle_events": run.machine.throttle_events,
            "throttling": run.machine.throttling,
        },
    )
    telemetry = optional(
        _STATS,
        maybe(
            shaped(absent=keyed(TEXT), sources=keyed(shaped(description=keyed(ANY), refused=ANY)))
        ),
        consumption.telemetry,
        compared=facts_of(_sensors),
    )
    cost = optional(_STATS, maybe(_COST), consumption.cost)
    doubts = optional(_STATS, listed(TEXT), "doubts")  # None in older reports
    # Of a workload: what each copy measured by itself. `summing` adds it.
    each_copy = optional(f"{_STATS}copies", listed(shaped(scores=ANY, phases=ANY, cores=ANY), 1))
    # Of a run on several hosts: each process, by its number.
    processes = optional(
        _STATS,
        listed(_PROCESS, 2),
        lambda run: run.processes or LEFT_OUT,
        compared=facts_of(
            lambda processes: [
                ("hardware", "processes", str(len(processes)), ()),
                ("hardware", "hosts", str(len({one["host"] for one in processes})), ()),
            ]
        ),
    )
    # Of a workload: whether the accuracy lies in its window, see `quality`.
    quality = optional(_STATS, shaped(**{"pass": maybe(BOOLEAN)}))
    graph_sha256 = Field(_STATS, SHA256, "graph_sha256", compared=fact("program", "graph"))
    loss_sha256 = Field(_STATS, SHA256, "loss_sha256")
    params_sha256 = Field(_STATS, SHA256, "params_sha256")
    batch_sha256 = optional(_STATS, SHA256, lambda run: run.batch_sha256 or LEFT_OUT)
    segments = optional(_STATS, listed(shaped(first_step=SIZE, num_steps=SIZE)), "segments")
    goodput = optional(_STATS, maybe(FRACTION), "goodput")
    log = Field("report/log", Kind[str]({"const": "ok"}), lambda run: "ok")


class Report(_Run, app.App):
    """The report of one run, written from a `RunResult`."""

    def __init__(self, document: Mapping[str, Any], source: str):
        """Takes a document that matches the schema; `source` names it in messages.

        Raises:
            ValueError: if lists of samples differ in length.
        """
        super().__init__(document)
        self.source = source
        self.phases = {
            name: phase_lib.Phase(
                part, name, result_lib.score_name(name, self.precision, str(self.padding))
            )
            for name, part in self.phase_documents.items()
        }

    @property
    def stats(self) -> Mapping[str, Any]:
        """The part `wl-stats`."""
        return self.document["report"]["wl-stats"]

    @property
    def variant(self) -> str:
        """The variant of a score with its own name: the precision, and tight padding."""
        return self.precision if self.padding == "full" else f"{self.precision}, {self.padding}"

    @property
    def accuracy(self) -> float | None:
        """The last validation accuracy, or else that of inference; padding counts, as in 2022."""
        values = self.stats.get("val_accuracy") or self.stats.get("inference_accuracy")
        return values[-1] if values else None

    @property
    def compile_s(self) -> float | None:
        """Compilation time of all steps, including lowering; None if one came from a cache."""
        seconds = [phase.compile_times.total_s for phase in self.phases.values()]
        known = [s for s in seconds if s is not None]
        return sum(known) if len(known) == len(seconds) else None

    @property
    def hardware(self) -> str:
        """A description of the hardware: devices, or the CPU and its cores."""
        first = self.devices[0]
        if first["platform"] != "cpu":
            return f"{len(self.devices)} x {first['name']}"
        return f"{self.cpu or 'CPU'}, {self.num_cores} core{'s' * (self.num_cores != 1)}"

    @property
    def machine(self) -> str:
        """A description of the hardware, and of virtual devices if there are any."""
        emulated = f", {len(self.devices)} virtual devices" if self.is_emulated else ""
        return self.hardware + emulated

    @property
    def identity_key(self) -> str | None:
        """The CPU's identity as a short name; None if the report does not contain it."""
        fields: dict[str, Any] = dict.fromkeys(
            field.name for field in dataclasses.fields(identity_lib.Identity)
        )
        for name, value in (self.identity or {}).items():
            if name in fields:
                fields[name] = tuple(value) if isinstance(value, list) else value
        fields["num_cores"] = self.num_cores  # the cores that the run used
        return identity_lib.Identity(**fields).key

    @property
    def machine_class(self) -> str:
        """The machine as a file name: the history of a metric is for runs of one class.

        It contains the CPU's identity, because two generations of "AMD EPYC" are two machines.
        """
        key = self.identity_key
        if key is None:
            return self.unidentified_class
        if self.devices[0]["platform"] != "cpu":
            return f"{self.unidentified_class}-host-{key.rpartition('-')[2]}"
        return f"{key}-{len(self.devices)}-virtual-devices" if self.is_emulated else key

    @property
    def unidentified_class(self) -> str:
        """The machine class from names only, as it was before reports contained an identity."""
        return re.sub(r"[^a-z0-9]+", "-", self.machine.lower()).strip("-")
