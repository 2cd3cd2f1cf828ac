"""The share of a machine that is available to this process: cores, CPU time and memory.

A batch system or a container may restrict a process by CPU affinity, by quotas of control groups
(version 1 and 2, at every level) and by resource limits. Does not import JAX.
"""

import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path

from mlpf_jax.measure import linux

_ROOT = Path("/")
_NO_LIMIT = 2**60  # version 1 writes the largest page-aligned integer where there is no limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slot:
    """The resources available to this process. None: unknown, except for the quota."""

    allowed_cores: tuple[int, ...] | None  # numbers of the cores in the CPU affinity
    cpu_quota: float | None  # cores' worth of CPU time by control groups; None: no quota
    control_groups: str | None  # "v1", "v2" or "v1+v2": hierarchies that were searched for a quota
    memory_bytes: (
        int | None
    )  # the smallest of the machine's memory, group limits and resource limits

    @property
    def num_cores(self) -> int:
        """Number of cores to use; a fraction of a core counts as one."""
        num_allowed = len(self.allowed_cores or ()) or os.cpu_count() or 1
        return (
            num_allowed if self.cpu_quota is None else min(num_allowed, _round_up(self.cpu_quota))
        )


@dataclasses.dataclass(frozen=True)
class Throttling:
    """Counters of the group with the smallest CPU quota, since its creation."""

    periods: int
    throttled: int  # periods in which the quota was exhausted


def read(root: Path = _ROOT) -> Slot:
    """Returns the slot. `root` contains /proc and /sys."""
    return Slot(
        allowed_cores=allowed_cores(root),
        cpu_quota=min((quota for quota, _ in _cpu_quotas(root)), default=None),
        control_groups="+".join(sorted({version for version, _ in _mounts(root)})) or None,
        memory_bytes=_memory_bytes(root),
    )


def num_cores(root: Path = _ROOT) -> int:
    """Returns the number of cores that this process can use in full."""
    return read(root).num_cores


def allowed_cores(root: Path = _ROOT) -> tuple[int, ...] | None:
    """Returns the numbers of the cores that this process may run on; None if unknown."""
    if root == _ROOT and hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    listed = linux.fields(root / "proc/self/status").get("Cpus_allowed_list")
    return _numbers(listed) if listed else None


def throttling(root: Path = _ROOT) -> Throttling | None:
    """Returns the counters of the CPU quota; None if there is no quota or they are unknown."""
    quotas = sorted(_cpu_quotas(root), key=lambda found: found[0])
    if not quotas:
        return None
    counters = _pairs(quotas[0][1] / "cpu.stat")
    try:
        return Throttling(counters["nr_periods"], counters["nr_throttled"])
    except KeyError:
        return None


def free_memory_bytes(root: Path = _ROOT) -> int | None:
    """Returns the bytes that this process can still allocate under all limits."""
    available = linux.kib(linux.fields(root / "proc/meminfo").get("MemAvailable"))
    free = [limit - used for limit, used in _memory_limits(root)]
    known = [value for value in (available, *free) if value is not None]
    return max(0, min(known)) if known else None


def free_swap_bytes(root: Path = _ROOT) -> int:
    """Returns how much the machine can still move out of its memory."""
    return linux.kib(linux.fields(root / "proc/meminfo").get("SwapFree")) or 0


def free_threads(root: Path = _ROOT) -> int | None:
    """Returns how many threads this process may still start, at most; None if nothing limits it.

    Under the limit of its user those of the user's other processes count, too: they are not known.
    """
    groups = [
        (linux.number(folder / "pids.max"), linux.number(folder / "pids.current") or 0)
        for folder in _groups(root, "pids")
    ]
    free = [limit - used for limit, used in groups if limit is not None]
    of_user = _limit(root / "proc/self/limits", "Max processes")
    if of_user is not None and os.geteuid() != 0:  # which does not hold for root
        free.append(of_user)
    return min(free, default=None)


def _round_up(quota: float) -> int:
    return max(1, math.ceil(quota - 0.01))


def _memory_bytes(root: Path) -> int | None:
    total = linux.kib(linux.fields(root / "proc/meminfo").get("MemTotal"))
    limits = [limit for limit, _ in _memory_limits(root)]
    known = [value for value in (total, *limits) if value is not None]
    return min(known, default=None)


def _cpu_quotas(root: Path) -> Iterator[tuple[float, Path]]:
    """Yields each quota, in cores, with the group's folder."""
    for folder in _groups(root, "cpu"):
        quota, _, period = linux.text(folder / "cpu.max").partition(" ")
        if not quota:
            quota = linux.text(folder / "cpu.cfs_quota_us")
            period = linux.text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # not "max", not -1
            yield int(quota) / int(period), folder


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yields each memory limit with its unreclaimable use, both in bytes."""
    for folder in _groups(root, "memory"):
        counters = _pairs(folder / "memory.stat")
        limits = [
            linux.number(folder / name)
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        ]
        limits.append(
            counters.get("hierarchical_memory_limit")
        )  # set by groups above the visible ones
        found = [limit for limit in limits if limit is not None and limit < _NO_LIMIT]
        if found:
            used = linux.number(folder / "memory.current")
            if used is None:
                used = linux.number(folder / "memory.usage_in_bytes") or 0
            cached = counters.get("total_inactive_file", counters.get("inactive_file", 0))
            yield min(found), max(0, used - cached)
    status = linux.fields(root / "proc/self/status")
    for name, used_name in (("Max address space", "VmSize"), ("Max data size", "VmData")):
        soft = _limit(root / "proc/self/limits", name)
        if soft is not None:
            yield soft, linux.kib(status.get(used_name)) or 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of the groups that this process is in, from its own to the topmost."""
    paths = {}
    for line in linux.text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        paths |= dict.fromkeys(controllers.split(","), path)  # version 2: the name is ""
    for version, (mount_root, mount_point, controllers) in _mounts(root):
        name = "" if version == "v2" else controller
        if name not in paths or (name and name not in controllers):
            continue
        top = root / mount_point.lstrip("/")
        own = top / _below(paths[name], mount_root)
        yield from _up_to(own if own.is_dir() else top, top)


def _up_to(folder: Path, top: Path) -> Iterator[Path]:
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _below(path: str, mount_root: str) -> str:
    """Returns a group's path relative to the mount; "" if it lies outside of the mount.

    A container sees its own group mounted at the top, but /proc may give its path on the host.
    """
    if mount_root != "/":
        if path != mount_root and not path.startswith(f"{mount_root}/"):
            return ""
        path = path[len(mount_root) :]
    return "" if ".." in path.split("/") else path.lstrip("/")


def _mounts(root: Path) -> Iterator[tuple[str, tuple[str, str, list[str]]]]:
    """Yields version, root, mount point and controllers of each mounted hierarchy of groups."""
    for line in linux.text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = [*rest.split(), "", "", ""][:3]
        place = fields.split()
        if kind in ("cgroup", "cgroup2") and len(place) > 4:
            version = "v2" if kind == "cgroup2" else "v1"
            yield version, (place[3], place[4].replace("\\040", " "), options.split(","))


def _limit(path: Path, name: str) -> int | None:
    """Returns the soft limit of that name in /proc/self/limits; None if it is unlimited."""
    for line in linux.text(path).splitlines():
        if line.startswith(name):
            soft = line[len(name) :].split()[:1]
            return int(soft[0]) if soft and soft[0].isdigit() else None
    return None


def _pairs(path: Path) -> dict[str, int]:
    found = (line.split() for line in linux.text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in found if len(pair) == 2 and pair[1].isdigit()}


def _numbers(listed: str) -> tuple[int, ...]:
    """Parses a list of numbers such as "0-3,8"."""
    found: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
