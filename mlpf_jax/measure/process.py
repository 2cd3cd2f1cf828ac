"""System settings of this process: memory allocator, priority, huge pages, NUMA, swap.

The values come from the running process and not from environment variables, because settings can
differ from what a user asked for: a preloaded library silently replaces the allocator. Known on
Linux only; None elsewhere. Does not import JAX.
"""

import ctypes
import dataclasses
import os
import re
from pathlib import Path

from mlpf_jax.measure import linux

_GLIBC = re.compile(r"libc([-.].*)?\.so.*")
_CLASSES = ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """Process settings that can change the speed of a program. None: unknown."""

    malloc: str | None  # "libc", or the file name of the library that replaces it
    niceness: int | None
    scheduling_class: str | None  # e.g. "SCHED_OTHER"
    transparent_huge_pages: str | None  # "always", "madvise" or "never"
    numa_nodes: int | None  # number in the machine
    allowed_numa_nodes: str | None  # nodes that memory may come from, e.g. "0-1"
    swap_bytes: int | None  # total of the machine, used or free


def read(root: Path = Path("/")) -> Process:
    """Returns the current settings. `root` contains /proc and /sys."""
    status, memory = (linux.fields(root / name) for name in ("proc/self/status", "proc/meminfo"))
    nodes = list((root / "sys/devices/system/node").glob("node[0-9]*"))
    huge = re.search(r"\[(\w+)\]", linux.text(root / "sys/kernel/mm/transparent_hugepage/enabled"))
    return Process(
        malloc=whose_malloc(linux.text(root / "proc/self/maps"), _address_of_malloc()),
        niceness=os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else None,
        scheduling_class=_scheduling_class(),
        transparent_huge_pages=huge[1] if huge else None,
        numa_nodes=len(nodes) or None,
        allowed_numa_nodes=status.get("Mems_allowed_list"),
        swap_bytes=linux.kib(memory.get("SwapTotal")),
    )


def malloc() -> str | None:
    """Returns the library of the `malloc` in use: "libc" or another library's file name."""
    return whose_malloc(linux.text(Path("/proc/self/maps")), _address_of_malloc())


def _address_of_malloc() -> int | None:
    try:
        return ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):
        return None


def whose_malloc(maps: str, address: int | None) -> str | None:
    """Returns the library that is mapped at the address of `malloc`; None if there is none.

    The system's C library is returned as "libc".
    """
    if address is None:
        return None
    for line in maps.splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (?:\S+ +){4}(\S.*)", line)  # else of no file
        if found and int(found[1], 16) <= address < int(found[2], 16):
            file_name = found[3].rpartition("/")[2]
            return "libc" if _GLIBC.fullmatch(file_name) else file_name
    return None


def _scheduling_class() -> str | None:
    if not hasattr(os, "sched_getscheduler"):
        return None
    names = {getattr(os, name): name for name in _CLASSES if hasattr(os, name)}
    number = os.sched_getscheduler(0)
    return names.get(number, str(number))
