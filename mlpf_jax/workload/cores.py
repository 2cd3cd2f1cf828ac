"""The cores of each copy: neighbours, and where possible of one memory node."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlpf_jax.measure import linux

_ROOT = Path("/")


@dataclasses.dataclass(frozen=True, order=True)
class Core:
    """A logical core and where it is; unknown numbers are -1."""

    node: int  # of memory
    package: int
    core_id: int  # shared by the hardware threads of one physical core
    number: int


def locate(numbers: Iterable[int], root: Path = _ROOT) -> list[Core]:
    """Returns the cores of these numbers, neighbours side by side. `root` contains /sys."""
    return sorted(_locate(number, root) for number in numbers)


def share(cores: Sequence[Core], threads: int) -> list[tuple[int, ...]]:
    """Splits the cores into groups of `threads` numbers, as many as there can be.

    Only cores that are left over on every node are put together across nodes.
    """
    groups: list[tuple[int, ...]] = []
    rest: list[int] = []
    for node in sorted({core.node for core in cores}):
        numbers = [core.number for core in cores if core.node == node]
        whole = len(numbers) - len(numbers) % threads
        groups += _groups(numbers[:whole], threads)
        rest += numbers[whole:]
    return groups + _groups(rest[: len(rest) - len(rest) % threads], threads)


def _groups(numbers: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(numbers[i : i + size]) for i in range(0, len(numbers), size)]


def _locate(number: int, root: Path) -> Core:
    folder = root / f"sys/devices/system/cpu/cpu{number}"
    nodes = [path.name.removeprefix("node") for path in folder.glob("node[0-9]*")]
    places = (
        linux.number(folder / "topology" / name) for name in ("physical_package_id", "core_id")
    )
    package, core_id = (-1 if place is None else place for place in places)
    return Core(int(nodes[0]) if nodes else -1, package, core_id, number)
