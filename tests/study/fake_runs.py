"""Fake runs of the benchmark, which write a report with the speed of a law."""

import copy
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlpf_jax import progress
from mlpf_jax.report import checksums, hepscore
from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import engine, running, runs
from mlpf_jax.study.scaling import plan as planning
from tests import recorded

TEMPLATE = recorded.OLDEST_REPORT
OUT_OF_MEMORY = running.Outcome(1, "out of memory on the device")
USAGE = running.Outcome(2, "--num_devices=8: only 4 can be used here.")


class FakeMain:
    """A runner. `failures` are outcomes by numbers of devices and events per device."""

    def __init__(self, *, serial: float = 0.1, noise: float = 0.0, failures=None, doubts=()):
        self.serial = serial
        self.noise = noise
        self.failures = failures or {}
        self.doubts = list(doubts)
        self.calls: list[dict[str, str]] = []

    def __call__(self, arguments: Sequence[str], folder: Path) -> running.Outcome:
        options = dict(argument[2:].partition("=")[::2] for argument in arguments)
        self.calls.append(options)
        sizes = (int(options["num_devices"]), int(options["batch_size"]))
        if sizes in self.failures:
            return self.failures[sizes]
        hepscore.write(self.document(options), folder)
        return running.Outcome(0, "done")

    def document(self, options: dict[str, str]) -> dict[str, Any]:
        """A report of the run with these options."""
        devices, batch, seed = (int(options[n]) for n in ("num_devices", "batch_size", "seed"))
        num_events = int(options["num_train_events"])
        steps = int(options.get("num_steps", -(-num_events // (devices * batch))))
        rng = np.random.default_rng([devices, batch, seed])
        found = copy.deepcopy(_template())
        found["run_info"] |= {"num_devices": devices, "seed": seed, "is_emulated": devices > 1}
        for part in found["run_info"]["config"].values():
            if isinstance(part, dict):
                part |= {n: type(part[n])(options[n]) for n in part.keys() & options.keys()}
        found["app"]["bmk_checksum"] = checksums.code_md5()
        found["app"]["devices"] *= devices
        stats = found["report"]["wl-stats"]
        for rate, phase in zip((100.0, 300.0), stats["phases"].values(), strict=True):
            rate *= scaling_laws.speedup("Amdahl", self.serial, devices)
            rate *= float(np.exp(self.noise * rng.normal()))
            phase["num_unsteady_samples"] = 0
            phase["sample_s"] = [devices * batch / rate] * (steps - 1)
            phase["sample_events"] = [devices * batch] * (steps - 1)
            for column in ("steps", "elements"):
                phase[f"sample_{column}"] = [1] * (steps - 1)
        stats |= {
            "train_set_size": num_events,
            "batch_size_per_device": batch,
            "batch_size_total": devices * batch,
            "steps_by_epoch": [steps],
            "train_accuracy": [0.96],
            "val_accuracy": [0.9 - 0.001 * devices * batch + 0.0001 * seed],
            "doubts": self.doubts,
        }
        return found


@functools.cache
def _template() -> dict[str, Any]:
    return json.loads(TEMPLATE.read_text())


def plan(*studies: Any, repeats: int = 3, max_devices: int = 4, **more: int) -> planning.Plan:
    """A plan of some studies over up to four devices, 8 events per step in strong scaling."""
    settings = {"num_train_events": 64, "num_epochs": 1, "batch_size": 2, "seed": 5} | more
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    return planning.make(studies, arguments, max_devices=max_devices, repeats=repeats)


def findings(out: Path, runner: running.Runner, *studies: Any, **settings: Any):
    """What a study with that runner finds."""
    made = plan(*studies, **settings)
    measured = engine.run(made.sweep(), out, runner, progress.Progress(quiet=True))
    return made.findings(runs.results(measured, out), runs.provenance(measured))
