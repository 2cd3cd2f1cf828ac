"""A guardian of made-up GPUs, which are a file: `python fake_guardian.py CARD.json FILE`."""

import dataclasses
import json
import sys
from pathlib import Path

from mlpf_jax.study.sweep import gpus
from tests.telemetry import fake_nvml

CARD = Path(sys.argv.pop(1))


@dataclasses.dataclass
class SavedCard(fake_nvml.Card):
    """A card whose limit and clock are also in the file."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "locked_mhz" or "locked_mhz" in self.__dict__:
            CARD.write_text(json.dumps({"limit_mw": self.limit_mw, "mhz": self.locked_mhz}))


if __name__ == "__main__":
    sys.modules["pynvml"] = fake_nvml.module(SavedCard(limit_mw=650_000))
    gpus.runtimes.cuda_uuids = lambda: [fake_nvml.Card.uuid.removeprefix("GPU-")]
    gpus.main()
