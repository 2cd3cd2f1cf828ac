"""TPUs by the monitoring interface of libtpu (0.0.42). It offers no power, energy or clock."""

from collections.abc import Mapping
from typing import Any

from mlpf_jax.telemetry import source

# By libtpu's names: a list with a value per chip, as text.
_MEANS = {"use": "duty_cycle_pct", "tensor_core_use": "tensorcore_util"}  # per cent
_THROTTLED = "tpu_throttle_score"  # 0: not throttled
_USED, _TOTAL = "hbm_capacity_usage", "hbm_capacity_total"  # bytes


class Tpus:
    """All TPU chips of this process."""

    name = "TPUs"
    part: source.Part = "device"
    settle_s = 0.0
    energy: source.Counter | source.Absent = source.Absent("libtpu offers no energy and no power")

    def __init__(self, monitoring: Any):
        self._monitoring = monitoring
        self._asker = source.Asker(RuntimeError)
        self.refused = self._asker.refused

    def describe(self) -> Mapping[str, Any]:
        """Returns the memory of all chips, and the metrics that this libtpu knows."""
        known = self._asker.ask("metrics", self._monitoring.list_supported_metrics)
        total = self._values("memory_bytes", _TOTAL)
        return {"share": "whole chips", "memory_bytes": sum(total) or None, "metrics": known}

    def sample(self) -> Mapping[str, float | None]:
        """Returns mean use of the chips, memory used on all, and whether any is throttled."""
        found: dict[str, float | None] = {}
        for name, metric in _MEANS.items():
            values = self._values(name, metric)
            found[name] = sum(values) / len(values) / 100 if values else None
        used = self._values("used_memory_bytes", _USED)
        scores = self._values("slowed_by_throttling", _THROTTLED)
        return found | {
            "used_memory_bytes": sum(used) if used else None,
            "slowed_by_throttling": float(any(scores)) if scores else None,
        }

    def close(self) -> None:
        """Does nothing."""

    def _values(self, name: str, metric: str) -> list[float]:
        def read() -> list[float]:
            return [float(value) for value in self._monitoring.get_metric(metric).data()]

        return self._asker.ask(name, read) or []
