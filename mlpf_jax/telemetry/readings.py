"""The readings of all sources, kept as they come in."""

import array
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mlpf_jax.telemetry import record

Values = dict[str, Mapping[str, float | None]]  # by source and name
Columns = Mapping[str, Mapping[str, Float[np.ndarray, "readings"]]]


class Readings:
    """Columns of numbers, eight bytes each: a day of twenty values has 14 MB."""

    def __init__(self):
        self._time_s = array.array("d")
        self._cpu_s = array.array("d")
        self._columns: dict[str, dict[str, array.array[float]]] = {}

    def append(self, time_s: float, cpu_s: float, values: Values) -> None:
        """Adds one reading. A value that is new, or missing, is unknown in the other readings."""
        count = len(self._time_s)
        for source, found in values.items():
            columns = self._columns.setdefault(source, {})
            for name in found:
                if name not in columns:
                    columns[name] = array.array("d", [math.nan] * count)
            for name, column in columns.items():
                value = found.get(name)
                column.append(math.nan if value is None else value)
        self._cpu_s.append(cpu_s)
        self._time_s.append(time_s)  # last: it makes the reading count

    def finished(self) -> tuple[Float[np.ndarray, "readings"], Columns, record.Cost]:
        """Returns the times, the values by source and name, and what the readings cost."""
        time_s = np.array(self._time_s)
        columns = {  # a reading that never ends may have begun to fill them
            source: {name: np.array(column)[: time_s.size] for name, column in found.items()}
            for source, found in self._columns.items()
        }
        period_s = np.diff(time_s, prepend=0.0).tolist()
        cpu_s = tuple(self._cpu_s)[: time_s.size]
        return time_s, columns, record.Cost(cpu_s=cpu_s, period_s=tuple(period_s))
