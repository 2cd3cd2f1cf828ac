"""Program, machine and surroundings of a run: the part `app` of a report."""

import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.report import checksums
from mlpf_jax.report.fields import (
    ALL,
    ANY,
    BOOLEAN,
    COUNT,
    MD5,
    NUMBER,
    PHASES,
    SIZE,
    TEXT,
    Derived,
    Field,
    Kind,
    Record,
    Told,
    fact,
    facts_of,
    keyed,
    listed,
    marks,
    maybe,
    one_of,
    optional,
    refuses,
    shaped,
)

WORKLOAD_VERSION = 1  # increase when the measured work changes: results are then not comparable
_APP = "app/"
_ENVIRONMENT = "app/environment/"
_RUNTIME = "app/environment/runtime/"
_PROCESS = "app/environment/surroundings/process/"
# Of the runtime: a field of its own, or without effect on the run.
_DECLARED_APART = ("num_cores", "xla_flags", "variables", "pinned_variables", "allocator")
_SURROUNDINGS = marks(PHASES, "the same program in other surroundings")
_IDENTITY = Kind[Mapping[str, Any]](
    {
        "type": "object",
        "properties": {
            **dict.fromkeys(
                ("vendor", "family", "model", "stepping", "name", "hypervisor"), maybe(TEXT).schema
            ),
            **dict.fromkeys(("caches", "vector_extensions"), maybe(listed(TEXT)).schema),
            "num_cores": maybe(COUNT).schema,
        },
    }
)
_COMPILER_PACKAGES = ("jax", "jaxlib", "libtpu")  # and JAX's plugins


def _versions(versions: Mapping[str, str]) -> Iterator[Told]:
    for name, version in sorted(versions.items()):
        if name != "mlpf_jax":
            of_compiler = name in _COMPILER_PACKAGES or name.endswith(("-plugin", "-pjrt"))
            of_compiler |= name.startswith("nvidia-cuda-nvcc")  # ptxas
            yield "compiler" if of_compiler else "libraries", name, version, ()


def _devices(devices: list[Mapping[str, str]]) -> str:
    names = Counter(device["name"] for device in devices if device["platform"] != "cpu")
    return ", ".join(f"{n} x {name}" for name, n in names.items()) or "CPU"


def _assignments(variables: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in variables.items()) or "none"


def _slot(slot: Mapping[str, Any]) -> Iterator[Told]:
    """Yields facts of the slot. No quota is a known fact; older reports have unknown values."""
    quota, memory = slot["cpu_quota"], slot["memory_bytes"]
    yield "hardware", "CPU quota", "none" if quota is None else quota, ()
    yield "hardware", "memory to use", memory and f"{memory / 2**30:.0f} GiB", ()


def _commit(report: "App") -> str | None:
    changes = " with changes" if report.git_is_dirty else ""
    return report.git_commit and f"{report.git_commit[:12]}{changes}"


def _identity(identity: Mapping[str, Any]) -> Iterator[Told]:
    for name in ("vendor", "family", "model", "stepping"):
        yield "hardware", f"CPU {name}", identity.get(name), ()
    yield "hardware", "caches", identity.get("caches"), ()
    yield "hardware", "vector extensions", identity.get("vector_extensions"), ()
    yield "hardware", "hypervisor", identity.get("hypervisor"), ()


# What the engines put into their containers. Podman runs the images of docker, and counts as such.
_MARKS = {".singularity.d": "singularity", ".dockerenv": "docker", "run/.containerenv": "docker"}


def containment_of(root: Path) -> str:
    """Returns what kind of container has this root folder: "docker", "singularity" or "none"."""
    return next((kind for mark, kind in _MARKS.items() if (root / mark).exists()), "none")


class App(Record):
    """The part `app`, written from a `RunResult`."""

    version = Field(
        _APP,
        Kind[str]({"type": "string", "pattern": "^v"}),
        lambda run: f"v{run.environment['versions'].get('mlpf_jax', 'unknown')}",
        compared=fact("code", "version"),
    )
    workload_version = Field(
        _APP,
        Kind[int]({"type": "integer"}),
        lambda run: WORKLOAD_VERSION,
        compared=fact(
            "settings",
            "workload version",
            refuses(ALL, "the measured work was changed between them"),
        ),
    )
    description = Field(_APP, TEXT, lambda run: "MLPF training and inference in JAX/Flax")
    containment = Field(
        _APP,
        one_of("docker", "singularity", "none"),
        lambda run: containment_of(Path("/")),
        compared=fact("system", "containment"),
    )
    bmk_checksum = Field(_APP, MD5, lambda run: checksums.code_md5())
    bmk_checksum_kind = Field(
        _APP,
        one_of("package", checksums.KIND),  # the whole package, in reports before kinds existed
        lambda run: checksums.KIND,
        absent="package",
    )
    # Named after its kind, so that checksums of two kinds are not compared.
    code = Derived[tuple[str, str]](
        lambda report: (report.bmk_checksum_kind, report.bmk_checksum),
        facts_of(lambda code: [("code", f"{code[0]} checksum", code[1], ())]),
    )
    bmkdata_checksum = Field(
        _APP,
        MD5,
        lambda run: checksums.data_md5(d.sha256 for d in (run.train_data, run.test_data) if d),
    )
    cvmfs_checksum = Field(_APP, TEXT, lambda run: "")
    devices = Field(
        _APP,
        listed(keyed(TEXT, "device_id", "name", "platform"), 1),
        "devices",
        compared=fact("hardware", "devices", show=_devices),
    )

    is_validated = optional(  # against the schema, before it was written
        _APP, BOOLEAN, lambda run: importlib.util.find_spec("jsonschema") is not None
    )

    environment = Field(_APP, keyed(ANY), lambda run: dict(run.environment))
    versions = Field(
        _ENVIRONMENT, keyed(TEXT, "python", "jax", "jaxlib", "flax"), compared=facts_of(_versions)
    )
    git_commit = Field(_ENVIRONMENT, maybe(TEXT))
    git_is_dirty = optional(_ENVIRONMENT, maybe(BOOLEAN))
    commit = Derived[str | None](_commit, fact("code", "commit"))
    cpu = optional(_ENVIRONMENT, maybe(TEXT), compared=fact("hardware", "CPU"))
    # Older files have none: their machines are unknown, and so never the same.
    identity = optional(
        f"{_ENVIRONMENT}surroundings/identity", _IDENTITY, compared=facts_of(_identity)
    )
    num_cpu_cores = optional(_ENVIRONMENT, maybe(COUNT), compared=fact("hardware", "cores"))
    memory_bytes = optional(
        _ENVIRONMENT,
        maybe(SIZE),
        # The memory varies by a few pages between kernels.
        compared=fact("hardware", "memory", show=lambda size: f"{size / 2**30:.0f} GiB"),
    )
    architecture = optional(
        f"{_ENVIRONMENT}machine", maybe(TEXT), compared=fact("hardware", "architecture")
    )
    driver = optional(_ENVIRONMENT, maybe(TEXT), compared=fact("compiler", "driver"))
    system = optional(_ENVIRONMENT, maybe(TEXT), compared=fact("system", "system"))
    kernel = optional(_ENVIRONMENT, maybe(TEXT), compared=fact("system", "kernel"))
    load_average = optional(_ENVIRONMENT, maybe(listed(NUMBER)))
    platform_demanded = optional(f"{_ENVIRONMENT}start/", one_of("auto", "cpu", "gpu", "tpu"))
    # Why accelerators that are there were not used, and how settings differ from those asked for.
    fallback = optional(f"{_ENVIRONMENT}start/", maybe(TEXT))
    departure = optional(f"{_ENVIRONMENT}start/", maybe(TEXT))
    runtime = Field(
        _ENVIRONMENT,
        keyed(ANY, "allocator"),
        compared=facts_of(
            lambda runtime: [
                ("system", name, runtime[name], ())
                for name in sorted(runtime)
                if name not in _DECLARED_APART
            ]
        ),
    )
    variables = optional(
        _RUNTIME,
        keyed(TEXT),
        compared=fact("system", "environment variables", _SURROUNDINGS, show=_assignments),
    )
    malloc = optional(_PROCESS, maybe(TEXT), compared=fact("system", "malloc", _SURROUNDINGS))
    niceness = optional(_PROCESS, ANY, compared=fact("system", "niceness"))
    scheduling_class = optional(_PROCESS, maybe(TEXT), compared=fact("system", "scheduling class"))
    transparent_huge_pages = optional(
        _PROCESS, maybe(TEXT), compared=fact("system", "transparent huge pages")
    )
    allowed_numa_nodes = optional(_PROCESS, maybe(TEXT), compared=fact("system", "NUMA nodes"))
    slot = optional(
        f"{_ENVIRONMENT}surroundings/slot",
        shaped(allowed_cores=ANY, cpu_quota=ANY, memory_bytes=maybe(SIZE)),
        compared=facts_of(_slot),
    )
    num_cores = Field(_RUNTIME, COUNT, compared=fact("hardware", "cores used"))
    xla_flags = Field(_RUNTIME, ANY, compared=fact("compiler", "XLA flags"))
    allocator = Field(_RUNTIME, ANY, compared=fact("system", "allocator"))
