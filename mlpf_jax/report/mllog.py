"""Writes a run's training as a log of MLPerf: `:::MLLOG` lines, one event each.

The durations are those that were measured. The time of day of the training is known to about a
second: a report has the times of the whole run, and training and inference are its last parts. Of
a run that was resumed, the log is without the time in which it made no progress.

Source: MLPerf's logging rules, as `mlperf_logging.compliance_checker` checks them for HPC 3.0.
"""

import datetime
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax.report import reader

BENCHMARK = "mlpf"
_TYPES = {"start": "INTERVAL_START", "stop": "INTERVAL_END"}


def write(path: Path, report: reader.Report) -> None:
    """Writes the log of a run.

    Raises:
        ValueError: if it did not train.
        OSError: if it cannot be written.
    """
    atomic.write_file(path, "".join(f"{line}\n" for line in lines(report)).encode())


def lines(report: reader.Report) -> list[str]:
    """Returns the lines of the log of a run, in order of time.

    Raises:
        ValueError: if it did not train.
    """
    if not report.epoch_times or report.validation_times is None or report.train_time is None:
        raise ValueError(f"{report.source}: a log of MLPerf needs training.")
    init = _seconds(_started_at(report))
    start = max(init, _seconds(report.finished_at) - _after_training(report) - report.train_time)
    found = [_line(start, key, value) for key, value in _settings(report)]
    found = [_line(init, "init_start"), *found, _line(start, "init_stop")]
    found.append(_line(start, "run_start"))
    found += _epochs(report, start)
    stop = start + report.train_time
    training = report.phases["training"]
    throughput = {"throughput": training.score.median}
    found.append(_line(stop, "tracked_stats", throughput, step=len(report.epoch_times)))
    found.append(_line(stop, "run_stop", status="success"))
    return found


def _started_at(report: reader.Report) -> str:
    """Returns when the first process of a run started, which may have been resumed since."""
    times = [one.get("started_at", report.started_at) for one in report.segments or ()]
    return min([report.started_at, *times], key=_seconds)


def _after_training(report: reader.Report) -> float:
    """Returns the seconds of all samples after training, those for the energy alone included."""
    inference = report.phases.get("inference")
    seconds = [sample.seconds for sample in inference.samples] if inference else []
    for phase in report.phases.values():
        seconds += [sample["seconds"] for sample in phase.extra_samples or ()]
    return math.fsum(seconds)


def _settings(report: reader.Report) -> Iterator[tuple[str, Any]]:
    yield "submission_benchmark", BENCHMARK
    yield "submission_org", "unknown"
    yield "submission_division", "open"
    yield "submission_status", "research"
    yield "submission_platform", report.machine
    yield "cache_clear", False  # of the files: events are read before the clock starts
    yield "seed", report.seed
    yield "global_batch_size", report.batch_size_total
    yield "train_samples", report.train_set_size
    yield "eval_samples", report.test_set_size
    yield "opt_name", "adam"
    yield "opt_base_learning_rate", report.config["train"]["learning_rate"]


def _epochs(report: reader.Report, start: float) -> Iterator[str]:
    accuracies = report.stats["val_accuracy"]
    times = zip(report.epoch_times or (), report.validation_times or (), accuracies, strict=True)
    now = start
    for number, (epoch_s, validation_s, accuracy) in enumerate(times, start=1):
        yield _line(now, "epoch_start", epoch_num=number)
        now += epoch_s - validation_s
        yield _line(now, "epoch_stop", epoch_num=number)
        yield _line(now, "eval_start", epoch_num=number)
        now += validation_s
        yield _line(now, "eval_accuracy", accuracy, epoch_num=number)
        yield _line(now, "eval_stop", epoch_num=number)


def _line(seconds: float, key: str, value: Any = None, **metadata: Any) -> str:
    kind = _TYPES.get(key.rpartition("_")[2], "POINT_IN_TIME")
    event = {
        "namespace": "",
        "time_ms": round(seconds * 1000),
        "event_type": kind,
        "key": key,
        "value": value,
        "metadata": metadata,
    }
    return f":::MLLOG {json.dumps(event)}"


def _seconds(time: str) -> float:
    return datetime.datetime.fromisoformat(time).timestamp()
