"""Result files read back, for the programs that compare, guard and show them."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.measure import load as load_lib
from mlpf_jax.measure import records
from mlpf_jax.report import hepscore
from mlpf_jax.report import result as result_lib
from mlpf_jax.stats import summaries

_MOST_BYTES = 64 * 2**20  # of a result file; a run of a day has less


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """One compiled step, training or inference, as its report tells it."""

    name: str
    score_name: str
    samples: tuple[records.Sample, ...]
    num_unsteady: int  # by the rule of the version that wrote the report
    compile_times: records.CompileTimes
    first_call_s: float
    memory_bytes: int  # of one device, as the compiler planned
    flops_per_event: float
    flops_per_s: float
    peak_share: float | None  # of the devices' peak rate
    program_sha256: str

    @property
    def steady_samples(self) -> tuple[records.Sample, ...]:
        """The samples that the score is made of."""
        return self.samples[self.num_unsteady :]

    @property
    def rates(self) -> list[float]:
        """Real events per second of every steady sample, in order."""
        return [sample.events_per_s for sample in self.steady_samples]

    @property
    def score(self) -> summaries.Summary:
        """Real events per second in the steady state, summarised again from the samples."""
        return summaries.summarize(self.rates)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """One run's report: the document itself, and its parts by the names of this project."""

    source: str  # the file's path as given
    document: Mapping[str, Any]
    phases: Mapping[str, Phase]

    @property
    def stats(self) -> Mapping[str, Any]:
        """The part `wl-stats`."""
        return self.document["report"]["wl-stats"]

    @property
    def run_info(self) -> Mapping[str, Any]:
        """The part `run_info`."""
        return self.document["run_info"]

    @property
    def config(self) -> Mapping[str, Any]:
        """All that could change the result, as the run's configuration had it."""
        return self.run_info["config"]

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions, machine, commit."""
        return self.document["app"]["environment"]

    @property
    def devices(self) -> list[Mapping[str, str]]:
        """Every device's id, name and platform."""
        return self.document["app"]["devices"]

    @property
    def is_emulated(self) -> bool:
        """Whether several devices were made of one CPU."""
        return self.run_info["is_emulated"]

    @property
    def precision(self) -> str:
        """Of matrix products."""
        return self.run_info["precision"]

    @property
    def padding(self) -> str:
        """Of the events; reports from before there was a choice say nothing: full."""
        told = self.run_info.get("padding") or self.config["data"].get("padding")
        return str(told or "full")

    @property
    def variant(self) -> str:
        """What gives a score a name of its own, in words: the precision, and tight padding."""
        return self.precision if self.padding == "full" else f"{self.precision}, {self.padding}"

    @property
    def data_sha256(self) -> Mapping[str, str | None]:
        """Content digests of the events, `train` and `test`; None where a mode has none."""
        sets = self.stats["data"]
        return {name: sets[name] and sets[name]["sha256"] for name in ("train", "test")}

    @property
    def accuracy(self) -> float | None:
        """The last validation accuracy, else that of inference; padding counts, as in 2022."""
        values = self.stats.get("val_accuracy") or self.stats.get("inference_accuracy")
        return values[-1] if values else None

    @property
    def compile_s(self) -> float | None:
        """Of all steps, lowering included; None if one of them came from a cache."""
        seconds = [phase.compile_times.total_s for phase in self.phases.values()]
        known = [s for s in seconds if s is not None]
        return sum(known) if len(known) == len(seconds) else None

    @property
    def hardware(self) -> str:
        """What ran it, in words: devices, or the CPU and its cores."""
        first = self.devices[0]
        if first["platform"] != "cpu":
            return f"{len(self.devices)} x {first['name']}"
        cpu = self.environment.get("cpu") or "CPU"
        cores = self.environment["runtime"]["num_cores"]
        return f"{cpu}, {cores} core{'s' * (cores != 1)}"

    @property
    def machine(self) -> str:
        """The hardware, and the virtual devices made of it if there are any."""
        emulated = f", {len(self.devices)} virtual devices" if self.is_emulated else ""
        return self.hardware + emulated

    @property
    def machine_class(self) -> str:
        """The machine as a name for files: runs of one class may be held against each other."""
        return re.sub(r"[^a-z0-9]+", "-", self.machine.lower()).strip("-")


def read(path: Path) -> Report:
    """Reads one report and holds it against the schema.

    Raises:
        ValueError: if it is no report of ours; one line that begins with the path.
        OSError: if it cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: larger than {_MOST_BYTES} bytes, so no report of a run.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        hepscore.validate(document)
        return from_document(document, str(path))
    except (ValueError, RecursionError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: {text}") from None


def from_document(document: Mapping[str, Any], source: str) -> Report:
    """Returns the report of a document that fits the schema."""
    run_info = document["run_info"]
    variant = run_info["precision"], run_info.get("padding", "full")
    found = document["report"]["wl-stats"]["phases"]
    return Report(
        source=source,
        document=document,
        phases={
            name: _phase(name, result_lib.score_name(name, *variant), fields)
            for name, fields in found.items()
        },
    )


def find(paths: Iterable[Path]) -> list[Path]:
    """Returns the files, and of each folder all its *.json, in order of name.

    Raises:
        ValueError: for a folder without any, or a path that is not there.
    """
    files = []
    for path in paths:
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path}: no result file (*.json) in this folder.")
        if not inside[0].is_file():
            raise ValueError(f"{path}: no such file.")
        files += inside
    return files


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number.")


def _phase(name: str, score_name: str, fields: Mapping[str, Any]) -> Phase:
    share = fields["share_of_peak"]
    return Phase(
        name=name,
        score_name=score_name,
        samples=_samples(fields),
        num_unsteady=fields["num_unsteady_samples"],
        compile_times=records.CompileTimes(fields["lower_s"], fields["compile_s"]),
        first_call_s=fields["first_call_s"],
        memory_bytes=fields["memory_per_device"]["total_bytes"],
        flops_per_event=fields["flops_per_event"],
        flops_per_s=fields["flops_per_s"],
        peak_share=share["share"] if share else None,
        program_sha256=fields["program_sha256"],
    )


def _samples(fields: Mapping[str, Any]) -> tuple[records.Sample, ...]:
    """Reports of before the load was recorded have none."""
    unknown = [None] * len(fields["sample_s"])
    columns = [fields[f"sample_{name}"] for name in ("s", "steps", "events", "elements")]
    columns += [fields.get(f"sample_{name}_cores", unknown) for name in ("other", "stolen")]
    return tuple(
        records.Sample(
            seconds=seconds,
            num_steps=steps,
            num_events=events,
            num_elements=elements,
            load=None if other is None else load_lib.Load(other, stolen),
        )
        for seconds, steps, events, elements, other, stolen in zip(*columns, strict=True)
    )
