"""Which cores and devices each copy of a workload gets."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

from mlpf_jax.workload import cores as cores_lib

# What makes only some devices visible to a process, by kind of accelerator.
_VISIBLE = {
    "NVIDIA GPU": "CUDA_VISIBLE_DEVICES",
    "AMD GPU": "ROCR_VISIBLE_DEVICES",
    "TPU": "TPU_VISIBLE_CHIPS",
}
COPY_BYTES = 3 * 2**30  # memory that a copy of the full-size network takes on a CPU


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for. None: the default."""

    copies: int | None = None
    threads: int | None = None
    ncores: int | None = None
    devices: str | None = None


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of the machine that one copy gets."""

    cores: tuple[int, ...] | None  # None: not bound
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)


def platform(asked: str, present: Sequence[str], plugins: Sequence[str]) -> tuple[str, str | None]:
    """Returns the platform to run on, never "auto", and a remark on it.

    `present` and `plugins` are the accelerators of the machine and of the installation.

    Raises:
        ValueError: if the installation is for accelerators and there is none.
    """
    if asked != "auto":
        return asked, None
    if plugins and not present:
        raise ValueError(
            f"no accelerator is visible here, but this installation is for one "
            f"({', '.join(plugins)}): make it visible (docker: --gpus all, apptainer: --nv), or "
            "measure the CPU with --platform=cpu."
        )
    if present and not plugins:
        return "cpu", f"{' and '.join(present)} not used: this installation is for CPUs alone"
    return ("tpu" if "TPU" in present else "gpu") if present else "cpu", None


def on_cpu(
    wish: Wish, cores: Sequence[cores_lib.Core], quota: int, free_bytes: int | None
) -> list[Share]:
    """Returns the share of every copy on a CPU; by default one copy per core.

    `quota` is the number of cores that may be kept busy. Where the free memory is too small for so
    many copies, there are fewer, with more cores each.

    Raises:
        ValueError: if there are not enough cores.
    """
    if wish.devices is not None:
        raise ValueError("--devices selects accelerators: on a CPU, --ncores limits the cores.")
    used = cores[: min(quota, _limit(wish, len(cores)))]
    threads = wish.threads or max(1, len(used) // wish.copies if wish.copies else 1)
    groups = cores_lib.share(used, threads)
    copies = wish.copies or len(groups)
    if wish.copies is None and free_bytes is not None:
        copies = max(1, min(copies, free_bytes // COPY_BYTES))
        if wish.threads is None:
            threads = _fewest_left_over(len(used), copies)
            copies = min(copies, len(used) // threads)
            groups = cores_lib.share(used, threads)
    if not 0 < copies <= len(groups):
        raise ValueError(
            f"--copies={copies} --threads={threads}: each copy needs its own cores, and only "
            f"{len(used)} can be used here. Choose fewer."
        )
    return [Share(group) for group in groups[:copies]]


def _fewest_left_over(num_cores: int, most_copies: int) -> int:
    """Returns the cores for each copy, few, with which so many copies or fewer take most cores."""
    fewest = num_cores // most_copies
    choices = range(fewest, 2 * fewest + 3)  # beyond, one copy on all cores would win too often
    return max(choices, key=lambda threads: threads * min(most_copies, num_cores // threads))


def on_accelerators(
    wish: Wish,
    kind: str,
    visible: Sequence[str],
    cores: Sequence[cores_lib.Core],
) -> list[Share]:
    """Returns the share of every copy on accelerators of a kind; by default one copy on all.

    `visible` are the devices that may be used, as the variable of the kind lists them.

    Raises:
        ValueError: if the devices cannot be shared evenly, or there are not enough cores.
    """
    copies = wish.copies or 1
    used = cores[: _limit(wish, len(cores))]
    threads = wish.threads or max(1, len(used) // copies)
    groups = cores_lib.share(used, threads)
    if len(groups) < copies:
        raise ValueError(
            f"--copies={copies} --threads={threads}: only {len(used)} cores can be used here."
        )
    if wish.devices is None and copies == 1:
        is_whole = wish.threads is None and wish.ncores is None
        return [Share(None if is_whole else groups[0])]
    chosen = list(visible) if wish.devices is None else selected(wish.devices, visible)
    if len(chosen) % copies or not chosen:
        raise ValueError(
            f"--copies={copies}: {len(chosen)} devices cannot be shared evenly. Say which ones "
            "with --devices, such as --devices=0-3 or --devices=0_2."
        )
    size = len(chosen) // copies
    return [
        Share(groups[i], {_VISIBLE[kind]: ",".join(chosen[i * size : (i + 1) * size])})
        for i in range(copies)
    ]


def visible_devices(kind: str, environ: Mapping[str, str], number: int) -> list[str]:
    """Returns the devices that the environment lets a process use, of `number` in the machine.

    By CUDA's rules, which hide those after an empty entry or -1.

    Raises:
        ValueError: if all are hidden.
    """
    name = _VISIBLE[kind]
    if name not in environ:
        return [str(i) for i in range(number)]
    words = [word.strip() for word in environ[name].split(",")]
    found = list(itertools.takewhile(lambda word: word not in ("", "-1"), words))
    if not found:
        raise ValueError(
            f"{name}={environ[name]} hides all devices: unset it, or measure the CPU with "
            "--platform=cpu."
        )
    return found


def selected(listed: str, visible: Sequence[str]) -> list[str]:
    """Returns the devices of a list such as 0_2 or 0-3, by their place among the visible ones.

    Other words, such as the UUID of a GPU or of a MIG slice, are taken as they are.

    Raises:
        ValueError: if one is not visible, or may be listed twice: by a number and a UUID.
    """
    found: list[str] = []
    for part in re.split("[_,]", listed):
        span = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if span is None:
            found.append(part)
            continue
        places = range(int(span[1]), int(span[2] or span[1]) + 1)
        if not places:
            found.append("")  # such as 3-1
        for place in places:
            if visible and place >= len(visible):
                raise ValueError(f"--devices={listed}: only {len(visible)} devices are visible.")
            found.append(visible[place] if visible else str(place))
    if "" in found or len(set(found)) < len(found) or not found:
        raise ValueError(f"--devices={listed}: write each device once, such as 0-3 or 0_2.")
    if len({word.isdecimal() for word in found}) > 1:
        raise ValueError(f"--devices={listed}: write all by number, or all by UUID.")
    return found


def _limit(wish: Wish, num_cores: int) -> int:
    if wish.ncores is not None and wish.ncores > num_cores:
        raise ValueError(f"--ncores={wish.ncores}: only {num_cores} cores can be used here.")
    return wish.ncores or num_cores
