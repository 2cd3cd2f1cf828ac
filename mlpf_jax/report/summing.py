"""Sums the reports of copies that ran side by side to the report of the workload.

It is an ordinary report whose samples are those of all copies together: the k-th samples of the
copies, at about the same time, give the k-th rate, the sum of theirs, and its median is the score.
What each copy measured by itself stays in `wl-stats/copies`.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.measure import load as load_lib
from mlpf_jax.measure import records, trust
from mlpf_jax.report import reader, summed_energy
from mlpf_jax.stats import summaries
from mlpf_jax.telemetry import host, rapl, source

_OF_PHASE = (
    *("lower_s", "compile_s", "first_call_s", "num_unsteady_samples"),
    *("sample_s", "sample_steps", "sample_events", "sample_elements"),
    *("sample_other_cores", "sample_stolen_cores", "sample_start_s"),
    *("sample_energy_j", "sample_host_energy_j", "extra_samples", "energy", "host_energy"),
)
_OF_ONE_COPY = ("sample_start_s", "sample_energy_j", "sample_host_energy_j", "extra_samples")
_DIGESTS = ("loss_sha256", "params_sha256")
_SUMMED = ("mean_throughput", "throughput_per_epoch", "GPU")
_SLOWEST = ("mean_epoch_time", "epoch_times", "validation_times", "train_time")


@dataclasses.dataclass(frozen=True)
class Part:
    """One copy: its report, and when it measured each phase, by one clock for all copies."""

    document: Mapping[str, Any]
    spans_s: Mapping[str, tuple[float, float]]


def add(parts: Sequence[Part]) -> dict[str, Any]:
    """Returns the report of all copies together; of a single one, its own with `copies`."""
    document = copy.deepcopy(dict(parts[0].document))
    stats = document["report"]["wl-stats"]
    starts = {name: min(p.spans_s[name][0] for p in parts) for name in stats["phases"]}
    stats["copies"] = [_of_copy(part, starts) for part in parts]
    if len(parts) == 1:
        return document
    document["run_info"]["copies"] = len(parts)
    reports = [reader.from_document(part.document, "a copy") for part in parts]
    doubts = _doubts(reports)
    on_cpu = reports[0].devices[0]["platform"] == "cpu"
    for name in stats["phases"]:
        phases = [report.phases[name] for report in reports]
        stats["phases"][name] = _phase(phases, on_cpu=on_cpu)
        summed = reader.Phase(stats["phases"][name], name, reports[0].phases[name].score_name)
        score, drift = summed.score, summaries.drift(summed.rates)
        document["report"]["wl-scores"][summed.score_name] = score.median
        stats[summed.score_name] = dataclasses.asdict(score)
        doubts += [f"{name}: {reason}" for reason in trust.in_samples(score, drift)]
    stats["doubts"] = list(dict.fromkeys(doubts))
    of_copies = [part.document["report"]["wl-stats"] for part in parts]
    _add_statistics(stats, of_copies)
    _add_telemetry(stats, of_copies)
    _add_machine(document["app"], [part.document["app"] for part in parts])
    return document


def _of_copy(part: Part, starts: Mapping[str, float]) -> dict[str, Any]:
    """Returns what a copy measured by itself."""
    report, app = part.document["report"], part.document["app"]
    stats = report["wl-stats"]
    phases = {}
    for name, phase in reader.from_document(part.document, "a copy").phases.items():
        start, end = part.spans_s[name]
        phases[name] = {
            "start_offset_s": start - starts[name],
            "measured_s": end - start,
            "score": dataclasses.asdict(phase.score),
            **{key: phase.document[key] for key in _OF_PHASE if key in phase.document},
        }
    return {
        "scores": report["wl-scores"],
        "phases": phases,
        "cores": app["environment"]["surroundings"]["slot"]["allowed_cores"],
        "devices": app["devices"],
        **{name: stats[name] for name in _DIGESTS},
        "peak_process_bytes": stats["memory"]["peak_process_bytes"],
        "telemetry": stats.get("telemetry"),
        "doubts": stats.get("doubts", []),
    }


def _phase(phases: Sequence[reader.Phase], *, on_cpu: bool) -> dict[str, Any]:
    """Returns the phase of all copies together, with the longest of their one-time costs."""
    at_once = zip(*(phase.samples for phase in phases), strict=False)
    unsteady = zip(*(phase.unsteady for phase in phases), strict=False)
    # While one copy warms up, the others have more of the machine.
    samples = [_sum(k) for k, early in zip(at_once, unsteady, strict=True) if not any(early)]
    if not samples:
        raise ValueError("there is no sample at which all copies were in their steady state.")
    rates = [sample.events_per_s for sample in samples]
    score = summaries.summarize(rates)
    compile_s = [phase.compile_times.compile_s for phase in phases]
    mean = trust.mean_load([s.load for s in samples], [s.seconds for s in samples])
    flops_per_s = score.median * phases[0].flops_per_event
    first = copy.deepcopy(dict(phases[0].document))
    summed_energy.add(first, phases, score, on_cpu=on_cpu)
    return {
        **{name: value for name, value in first.items() if name not in _OF_ONE_COPY},
        "lower_s": max(phase.lower_s for phase in phases),
        "compile_s": None if None in compile_s else max(s for s in compile_s if s is not None),
        "first_call_s": max(phase.first_call_s for phase in phases),
        "num_unsteady_samples": 0,
        "sample_s": [sample.seconds for sample in samples],
        "sample_steps": [sample.num_steps for sample in samples],
        "sample_events": [sample.num_events for sample in samples],
        "sample_elements": [sample.num_elements for sample in samples],
        "sample_other_cores": [sample.load and sample.load.other_cores for sample in samples],
        "sample_stolen_cores": [sample.load and sample.load.stolen_cores for sample in samples],
        "load": mean and dataclasses.asdict(mean),
        "drift": dataclasses.asdict(summaries.drift(rates)),
        "step_s": dataclasses.asdict(
            summaries.summarize([sample.seconds / sample.num_steps for sample in samples])
        ),
        "elements_per_s": summaries.summarize([s.elements_per_s for s in samples]).median,
        "flops_per_s": flops_per_s,
        "share_of_peak": _share_of_peak(phases, flops_per_s),
    }


def _sum(samples: Sequence[records.Sample]) -> records.Sample:
    """Returns one sample at the sum of the rates, with as many steps of every copy as of the first.

    Each copy chooses by itself how many steps make a sample.
    """
    shares = [samples[0].num_steps / sample.num_steps for sample in samples]

    def whole(done: Sequence[int]) -> int:
        return round(math.fsum(n * share for n, share in zip(done, shares, strict=True)))

    num_events = whole([sample.num_events for sample in samples])
    loads = [sample.load for sample in samples if sample.load is not None]
    return records.Sample(
        seconds=num_events / sum(sample.events_per_s for sample in samples),
        num_steps=samples[0].num_steps,
        num_events=num_events,
        num_elements=whole([sample.num_elements for sample in samples]),
        load=load_lib.Load(
            other_cores=sum(load.other_cores for load in loads),
            stolen_cores=sum(load.stolen_cores for load in loads),
        )
        if len(loads) == len(samples)
        else None,
    )


def _share_of_peak(phases: Sequence[reader.Phase], flops_per_s: float) -> dict[str, Any] | None:
    known = [share for phase in phases if (share := phase.share_of_peak) is not None]
    if len(known) < len(phases):
        return None
    peak = sum(share["peak_flops_per_s"] for share in known)
    return {**known[0], "share": flops_per_s / peak, "peak_flops_per_s": peak}


def _add_statistics(stats: dict[str, Any], of_copies: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the statistics of 2022 and the memory by those of all copies."""
    for names, combine in ((_SUMMED, sum), (_SLOWEST, max)):
        for name in names:
            values = [one[name] for one in of_copies if name in one]
            if values and isinstance(values[0], list):
                stats[name] = [combine(of_epoch) for of_epoch in zip(*values, strict=True)]
            elif values:
                stats[name] = combine(values)
    if "training" in (stats.get("cost") or ()):  # as many trainings at once as there are copies
        whole = max(one["cost"]["training"] for one in of_copies)  # until the last one has ended
        events = stats["phases"]["training"]["cost"]
        each = whole / len(of_copies) / events["per_million_events"]
        for end in ("", "_low", "_high"):
            cost = events[f"per_million_events{end}"]
            stats["cost"][f"training{end}"] = source.scaled(cost, each)
    stats["finished_at"] = max(one["finished_at"] for one in of_copies)
    peaks = [one["memory"]["peak_process_bytes"] for one in of_copies]
    stats["memory"]["peak_process_bytes"] = None if None in peaks else sum(peaks)


def _add_telemetry(stats: dict[str, Any], of_copies: Sequence[Mapping[str, Any]]) -> None:
    """Says whose telemetry it is, and adds the devices of the other copies.

    The host's has only the cores of one copy, and the clocks of the recordings differ.
    """
    for recorded in (
        stats.get("telemetry"),
        *(p.get("telemetry") for p in stats["phases"].values()),
    ):
        if recorded:
            recorded["of_copy"] = 1
    sources = (stats.get("telemetry") or {}).get("sources", {})
    for number, one in enumerate(of_copies[1:], start=2):
        for name, found in ((one.get("telemetry") or {}).get("sources") or {}).items():
            if name not in (host.Host.name, rapl.Packages.name):
                sources[f"copy {number}: {name}"] = found


def _add_machine(app: dict[str, Any], of_copies: Sequence[Mapping[str, Any]]) -> None:
    """Replaces cores and devices by those of all copies."""
    environments = [one["environment"] for one in of_copies]
    environment = app["environment"]
    environment["runtime"]["num_cores"] = sum(e["runtime"]["num_cores"] for e in environments)
    cores = [e["surroundings"]["slot"]["allowed_cores"] for e in environments]
    if None not in cores:
        union = sorted({core for of_copy in cores for core in of_copy})
        environment["surroundings"]["slot"]["allowed_cores"] = union
    if app["devices"][0]["platform"] != "cpu":
        app["devices"] = [device for one in of_copies for device in one["devices"]]


def _doubts(reports: Sequence[reader.Report]) -> list[str]:
    """Returns the doubts of the copies, and whether they computed the same.

    Doubts of a copy's samples are left to its part in `copies`: here the summed samples count.
    """
    doubts = [_not_of_samples(report) for report in reports]
    shared = [doubt for doubt in doubts[0] if all(doubt in other for other in doubts)]
    own = [
        f"copy {number}: {doubt}"
        for number, of_copy in enumerate(doubts, start=1)
        for doubt in of_copy
        if doubt not in shared
    ]
    for name in _DIGESTS:
        digests = [report.stats[name] for report in reports]
        odd = [str(n) for n, digest in enumerate(digests, start=1) if digest != digests[0]]
        if odd:
            own.append(f"copies {', '.join(odd)} have another {name} than copy 1")
    return shared + own


def _not_of_samples(report: reader.Report) -> list[str]:
    of_samples = {
        f"{name}: {reason}"
        for name, phase in report.phases.items()
        for reason in trust.in_samples(phase.score, summaries.drift(phase.rates))
    }
    return [doubt for doubt in report.doubts or () if doubt not in of_samples]
