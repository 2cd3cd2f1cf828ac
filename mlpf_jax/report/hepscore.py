"""A run's result as HEPscore's workload report: the only module that knows its key names.

Contract: hep-workloads' `<workload>_summary.json`, read by hep-score. Scores are bare numbers,
higher is better; what is not a score stands under `wl-stats`, `run_info` and `app`, for hep-score
drops other top-level keys.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema

from mlpf_jax import atomic
from mlpf_jax.measure import environment, peaks
from mlpf_jax.report import result as result_lib
from mlpf_jax.stats import summaries

FILE_NAME = "mlpf-jax_summary.json"
WORKLOAD_VERSION = 1  # raised when the measured work changes: results are then not comparable
_SCHEMA = Path(__file__).with_name("schema.json")


def report(result: result_lib.RunResult, extra_arguments: str) -> dict[str, Any]:
    """Returns the whole report, ready for JSON. `extra_arguments` is the command line as given."""
    config = result.config
    scores, statistics = {}, {}
    for phase_name, phase in result.phases.items():
        name = result_lib.score_name(phase_name, config.model.precision, config.data.padding)
        scores[name] = phase.score.median
        statistics[name] = dataclasses.asdict(phase.score)
    return {
        "run_info": {
            "copies": 1,
            "threads_per_copy": result.environment["runtime"]["num_cores"],
            "events_per_thread": config.data.num_train_events,
            "extra_arguments": extra_arguments,
            "num_devices": config.num_devices,
            "seed": config.seed,
            "precision": config.model.precision,
            "padding": config.data.padding,
            "is_emulated": result.is_emulated,
            "config": dataclasses.asdict(config),
        },
        "report": {
            "wl-scores": scores,
            "wl-stats": statistics
            | _epochs(result)
            | {
                "started_at": result.started_at,
                "finished_at": result.finished_at,
                "init_s": result.init_s,
                "phases": {name: _phase(phase, result) for name, phase in result.phases.items()},
                "data": {
                    "train": _maybe_asdict(result.train_data),
                    "test": _maybe_asdict(result.test_data),
                },
                "input": _maybe_asdict(result.input_times),
                "memory": {
                    "peak_device_bytes": result.peak_device_bytes,
                    "peak_process_bytes": result.peak_process_bytes,
                },
                "machine": {
                    **dataclasses.asdict(result.machine),
                    "swapped_pages": result.machine.swapped_pages,
                    "throttle_events": result.machine.throttle_events,
                },
                "doubts": list(result.doubts),
                "graph_sha256": result.graph_sha256,
                "loss_sha256": result.loss_sha256,
                "params_sha256": result.params_sha256,
            },
            "log": "ok",
        },
        "app": {
            "version": f"v{result.environment['versions'].get('mlpf_jax', 'unknown')}",
            "workload_version": WORKLOAD_VERSION,
            "description": "MLPF training and inference in JAX/Flax",
            "containment": _containment(),
            "bmk_checksum": package_md5(),
            "bmkdata_checksum": _data_md5(result),
            "cvmfs_checksum": "",
            "devices": [dataclasses.asdict(device) for device in result.devices],
            "environment": dict(result.environment),
        },
    }


def _epochs(result: result_lib.RunResult) -> dict[str, Any]:
    """The statistics of 2022, under their names, and a list per epoch of each loss and accuracy."""
    config, epochs = result.config, result.epochs
    is_cpu = result.devices[0].platform == "cpu"
    fields: dict[str, Any] = {
        "GPU": 0 if is_cpu else len(result.devices),
        "CPU": 1 if is_cpu else 0,
        "train_set_size": config.data.num_train_events,
        "test_set_size": config.data.num_test_events,
        "batch_size_per_device": config.train.batch_size,
        "batch_size_total": config.global_batch_size,
    }
    if epochs:
        fields |= {
            "mean_throughput": result.mean_throughput,
            "mean_epoch_time": result.mean_epoch_time,
            "num_epochs": len(epochs),
            "epoch_times": [epoch.seconds for epoch in epochs],
            "validation_times": [epoch.validation_s for epoch in epochs],
            "throughput_per_epoch": [epoch.events_per_s for epoch in epochs],
            "train_time": result.train_seconds,
            "steps_per_epoch": epochs[0].num_steps,
            "events_per_epoch": epochs[0].num_events,
            "steps_by_epoch": [epoch.num_steps for epoch in epochs],
        }
        fields |= _quality_lists("train", [epoch.train for epoch in epochs])
        fields |= _quality_lists("val", [epoch.validation for epoch in epochs])
    if result.inference_quality is not None:
        fields |= _quality_lists("inference", [result.inference_quality])
        fields["inference_weights"] = result.inference_weights
    return fields


def _quality_lists(prefix: str, qualities: list[result_lib.Quality]) -> dict[str, list[float]]:
    fields = {
        f"{prefix}_loss" if name == "total" else f"{prefix}_{name}_loss": [
            quality.losses[name] for quality in qualities
        ]
        for name in qualities[0].losses
    }
    return fields | {
        f"{prefix}_accuracy": [quality.accuracy for quality in qualities],
        f"{prefix}_real_accuracy": [quality.real_accuracy for quality in qualities],
        f"{prefix}_weighted_accuracy": [quality.weighted_accuracy for quality in qualities],
    }


def _phase(phase: result_lib.PhaseResult, result: result_lib.RunResult) -> dict[str, Any]:
    flops_per_s = phase.score.median * phase.flops_per_event
    return {
        **dataclasses.asdict(phase.compile_times),
        "first_call_s": phase.first_call_s,
        "num_unsteady_samples": phase.num_unsteady,
        "sample_s": [s.seconds for s in phase.samples],
        "sample_steps": [s.num_steps for s in phase.samples],
        "sample_events": [s.num_events for s in phase.samples],
        "sample_elements": [s.num_elements for s in phase.samples],
        "sample_other_cores": [s.load and s.load.other_cores for s in phase.samples],
        "sample_stolen_cores": [s.load and s.load.stolen_cores for s in phase.samples],
        "load": _maybe_asdict(phase.load),
        "drift": dataclasses.asdict(phase.drift),
        "step_s": dataclasses.asdict(
            summaries.summarize([s.seconds / s.num_steps for s in phase.steady_samples])
        ),
        "elements_per_s": phase.elements_per_s,
        "padding_fraction": phase.padding_fraction(result.config),
        "capacities": [dataclasses.asdict(capacity) for capacity in phase.capacities],
        "flops_per_event": phase.flops_per_event,
        "flops_per_s": flops_per_s,
        "share_of_peak": share_of_peak(flops_per_s, result),
        "memory_per_device": {
            **dataclasses.asdict(phase.memory),
            "total_bytes": phase.memory.total_bytes,
        },
        "program_sha256": phase.program_sha256,
    }


def share_of_peak(flops_per_s: float, result: result_lib.RunResult) -> dict[str, Any] | None:
    """Returns which part of the devices' peak rate that is; None for devices not in the table."""
    peak = peaks.find(result.devices[0].name)
    rate = getattr(peak, result.config.model.precision) if peak else None
    if peak is None or rate is None:
        return None
    total = rate * 1e12 * len(result.devices)
    return {"share": flops_per_s / total, "peak_flops_per_s": total, "source": peak.source}


def _maybe_asdict(value: Any) -> dict[str, Any] | None:
    return None if value is None else dataclasses.asdict(value)


def _containment() -> str:
    if os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER"):
        return "singularity"
    return "docker" if Path("/.dockerenv").exists() else "none"


def package_md5() -> str:
    """Returns an MD5 of the package's own files, names included: HEPscore's `bmk_checksum`."""
    digest = hashlib.md5(usedforsecurity=False)
    files = sorted(p for p in environment.PACKAGE.rglob("*") if p.is_file())
    for path in files:
        if path.suffix in (".py", ".json", ".npz"):
            digest.update(path.relative_to(environment.PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _data_md5(result: result_lib.RunResult) -> str:
    """Returns an MD5 over the content digests of the events: HEPscore's `bmkdata_checksum`."""
    sets = [data for data in (result.train_data, result.test_data) if data is not None]
    content = "".join(data.sha256 for data in sets).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def validate(document: Any) -> None:
    """Checks a report against the schema in the package.

    Raises:
        ValueError: if it does not fit; one line that names the place.
    """
    schema = json.loads(_SCHEMA.read_text())
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the report"
        raise ValueError(f"not a HEPscore report of mlpf_jax: {place}: {error.message[:200]}")


def write(document: dict[str, Any], folder: Path) -> Path:
    """Validates the report and writes it into `folder`, whole or not at all; returns its path."""
    validate(document)
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    return path
