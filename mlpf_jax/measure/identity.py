"""The identity of a machine: two machines are the same if all of these fields agree.

The name of a CPU is not enough: virtual machines of several generations all report "AMD EPYC". The
values come from Linux. Unknown values are None and never count as equal.
"""

import dataclasses
import hashlib
import re
from pathlib import Path

from mlpf_jax.measure import linux

# Extensions that a compiler uses for arithmetic on vectors and matrices, as Linux names them.
_X86_VECTORS = re.compile(r"(sse4_[12]|avx\w*|amx\w*|fma|f16c|vaes|vpclmulqdq)")
_ARM_VECTORS = re.compile(r"(asimd\w*|sve\w*|sme\w*|i8mm|bf16|fphp)")
# Hypervisors by the start of the firmware's vendor or product name.
_VIRTUAL_FIRMWARE = (
    "Alibaba Cloud",
    "Amazon EC2",
    "Bochs",
    "Google Compute Engine",
    "KVM",
    "OpenStack",
    "Parallels",
    "QEMU",
    "Virtual Machine",  # Hyper-V
    "VirtualBox",
    "VMware",
    "Xen",
)
_BARE_METAL = "none"
_UNNAMED = "present"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """The CPU, its hypervisor and the cores available to this process. None: unknown.

    If a machine has several kinds of cores, a field lists each value once, joined by " + ".
    """

    vendor: str | None  # on ARM the implementer, e.g. "0x41"
    family: str | None  # on ARM the architecture, e.g. "8"
    model: str | None  # on ARM the part, e.g. "0xd40"
    stepping: str | None  # on ARM variant and revision, e.g. "0x1r1"
    name: str | None  # e.g. "AMD EPYC"; ARM has none
    caches: tuple[str, ...] | None  # of one core, e.g. "L1 Data 32K"
    vector_extensions: tuple[str, ...] | None  # sorted, as /proc/cpuinfo names them
    hypervisor: str | None  # its name; "present" if the name is unknown; "none" on bare metal
    num_cores: int | None  # that this process may use

    @property
    def key(self) -> str | None:
        """A short name that is unique to the values of all fields; None if the CPU is unknown.

        It is safe as a file name: "amd-epyc-f25-m17-s1-2-cores-9c1f0a3d".
        """
        if self.model is None or (self.vendor is None and self.name is None):
            return None
        described = {"f": self.family, "m": self.model, "s": self.stepping}
        parts = [self.name or self.vendor or ""]
        parts += [f"{letter}{value}" for letter, value in described.items() if value is not None]
        if self.num_cores is not None:
            parts.append(f"{self.num_cores}-core{'s' if self.num_cores != 1 else ''}")
        text = re.sub(r"\((?:r|tm)\)", "", "-".join(parts).lower())
        return f"{re.sub(r'[^a-z0-9]+', '-', text).strip('-')}-{self._digest()}"

    def _digest(self) -> str:
        fields = repr(sorted(dataclasses.asdict(self).items()))
        return hashlib.sha256(fields.encode()).hexdigest()[:8]


def read(num_cores: int | None, root: Path = Path("/")) -> Identity:
    """Returns the identity of this machine.

    `num_cores` is the number of cores available to this process; `root` contains /proc and /sys.
    """
    cpuinfo = _cpuinfo(root / "proc/cpuinfo")

    def tell(*names: str) -> str | None:
        found = [value for name in names for value in cpuinfo.get(name, ())]
        return " + ".join(found) or None

    variant, revision = tell("CPU variant"), tell("CPU revision")
    flags = cpuinfo.get("flags")
    return Identity(
        vendor=tell("vendor_id", "CPU implementer"),
        family=tell("cpu family", "CPU architecture"),
        model=tell("model", "CPU part"),
        stepping=tell("stepping") or (f"{variant}r{revision}" if variant and revision else None),
        name=tell("model name", "cpu"),  # the second on POWER
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
        vector_extensions=_vector_extensions(flags, cpuinfo.get("Features")),
        hypervisor=_hypervisor(flags, root / "sys"),
        num_cores=num_cores,
    )


def _cpuinfo(path: Path) -> dict[str, tuple[str, ...]]:
    """Returns the distinct values of every field over all cores."""
    found: dict[str, dict[str, None]] = {}
    for line in linux.text(path).splitlines():
        name, colon, value = (part.strip() for part in line.partition(":"))
        if colon and value and value != "unknown":
            found.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in found.items()}


def _vector_extensions(
    x86: tuple[str, ...] | None, arm: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Returns the extensions that all cores have, because a program may run on any core."""
    lists, pattern = (x86, _X86_VECTORS) if x86 is not None else (arm, _ARM_VECTORS)
    if lists is None:
        return None
    common = set.intersection(*(set(flags.split()) for flags in lists))
    return tuple(sorted(flag for flag in common if pattern.fullmatch(flag)))


def _caches(folder: Path) -> tuple[str, ...] | None:
    found = []
    for index in sorted(folder.glob("index[0-9]*")):
        level, kind, size = (linux.text(index / name) for name in ("level", "type", "size"))
        if level and size:
            found.append(" ".join(filter(None, [f"L{level}", kind, size])))
    return tuple(found) or None


def _hypervisor(x86_flags: tuple[str, ...] | None, sys: Path) -> str | None:
    named = linux.text(sys / "hypervisor/type")
    if named:
        return named
    firmware = [linux.text(sys / "class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    is_virtual = x86_flags is not None and all("hypervisor" in f.split() for f in x86_flags)
    for text in firmware:
        for name in _VIRTUAL_FIRMWARE:
            if text.startswith(name) and (is_virtual or not x86_flags):
                return name
    if is_virtual:
        return _UNNAMED
    return _BARE_METAL if x86_flags else None  # ARM's /proc/cpuinfo has no such flag
