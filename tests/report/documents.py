"""Reports as a run writes them, made of a few numbers, for the tests of what reads them."""

import copy
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import config
from mlpf_jax.report import reader
from tests.report import test_hepscore

RATES = (10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98)
GPU = [{"device_id": "0", "name": "NVIDIA H200", "platform": "gpu"}]
IDENTITY = {  # of two generations of CPUs that have one name
    "zen4": {"vendor": "AuthenticAMD", "family": "25", "model": "17", "name": "AMD EPYC"},
    "zen5": {"vendor": "AuthenticAMD", "family": "26", "model": "2", "name": "AMD EPYC"},
}
TALK = {
    "report/wl-stats/batch_size_total": 16,
    "report/wl-stats/steps_by_epoch": [69] * 5,
    "report/wl-stats/data/train/num_events": 1100,
}


def document(
    *,
    training: Sequence[float] | None = RATES,
    inference: Sequence[float] | None = RATES,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A whole report with those steady rates in events/s; `changes` are values by path."""
    found = copy.deepcopy(test_hepscore.DOCUMENT)
    found["app"]["environment"]["surroundings"] = {"identity": copy.deepcopy(IDENTITY["zen4"])}
    default = config.RunConfig()
    found["run_info"]["config"] |= {
        "model": {**vars(default.model)},
        "data": {**vars(default.data)},
        "train": {**vars(default.train)},
        "seed": default.seed,
    }
    stats = found["report"]["wl-stats"]
    dataset = test_hepscore.DATASET | {"num_events": 80}
    stats["data"] = {"train": copy.deepcopy(dataset), "test": copy.deepcopy(dataset)}
    stats["phases"], found["report"]["wl-scores"] = {}, {}
    for name, rates in {"training": training, "inference": inference}.items():
        if rates is not None:
            stats["phases"][name] = phase(rates)
            found["report"]["wl-scores"][name] = statistics.median(rates)
    if training is not None:
        stats |= {
            "mean_epoch_time": 10.0,
            "mean_throughput": 8.0,
            "steps_by_epoch": [80],
            "val_accuracy": [0.5, 0.9],
        }
    for path, value in (changes or {}).items():
        *parents, last = path.split("/")
        place = found
        for key in parents:
            place = place[key]
        place[last] = value
    return found


def phase(rates: Sequence[float]) -> dict[str, Any]:
    ones = [1] * len(rates)
    return copy.deepcopy(test_hepscore.PHASE) | {
        "sample_s": [1 / rate for rate in rates],
        "sample_steps": ones,
        "sample_events": ones,
        "sample_elements": ones,
        "memory_per_device": {"total_bytes": 2**30},
        "flops_per_s": 2e12,
    }


def report(source: str = "a.json", **parts: Any) -> reader.Report:
    return reader.from_document(document(**parts), source)


def write(path: Path, **parts: Any) -> Path:
    return dump(path, document(**parts))


def dump(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
