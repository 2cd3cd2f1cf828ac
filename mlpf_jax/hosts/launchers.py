"""Finds out which of the processes of a run this one is, from what its launcher has set.

Reads the environment alone, and does not import JAX. JAX's own detection gives each process one
device by its local rank, does not know Open MPI 5, and asks the interface of Kubernetes for what
an environment variable can say.
"""

import dataclasses
import hashlib
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlpf_jax import config as config_lib

# Ports for a launcher that names none: above what Linux gives to outgoing connections.
_FIRST_PORT, _NUM_PORTS = 61_440, 4_096
_DEFAULT_PORT = 55_527  # as JAX's, where every job has an address of its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """The place of this process among those of its run."""

    process_id: int
    num_processes: int
    host: str  # name or address of the host of process 0
    port: int  # where process 0 listens
    launcher: str


Environ = Mapping[str, str]


def place(settings: config_lib.HostsConfig, environ: Environ) -> Placement | None:
    """Returns the place of this process; None if it is a run of its own.

    Raises:
        ValueError: if a launcher has started several processes and does not tell enough, or the
            settings contradict it.
    """
    if settings.distributed == "off":
        return None
    if settings.distributed == "manual":
        host, port = split_address(settings.coordinator_address or "")
        assert settings.process_id is not None
        assert settings.num_processes is not None
        return _checked(
            Placement(
                process_id=settings.process_id,
                num_processes=settings.num_processes,
                host=host,
                port=port,
                launcher="manual",
            )
        )
    is_launched = False
    for detect in (_step, _environment, _tpu, _other_mpi, _torchrun):
        found = detect(environ, settings.coordinator_address)
        # The only process of one launcher may be a shell, in which another one has started more.
        if found is not None and _checked(found).num_processes > 1:
            return found
        is_launched |= found is not None
    if settings.coordinator_address is not None and not is_launched:
        raise ValueError(
            f"--coordinator_address={settings.coordinator_address}: no launcher of several "
            "processes was found. Give --distributed=manual, --num_processes and --process_id too."
        )
    return None


def split_address(address: str) -> tuple[str, int]:
    """Returns the host and the port of HOST:PORT; an IPv6 address is in brackets.

    Raises:
        ValueError: if it has another form.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^\[\]:\s]+)):([0-9]{1,5})", address)
    if not found or not 0 < int(found[3]) < 65_536:
        raise ValueError(f"--coordinator_address={address}: give HOST:PORT of process 0.")
    return found[1] or found[2], int(found[3])


def first_host(nodes: str) -> str:
    """Returns the first of Slurm's list of hosts, such as `a3` of "a[3-5,9],b1"."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+))?", nodes)
    if not found:
        raise ValueError(f"SLURM_STEP_NODELIST={nodes}: no host is named.")
    return found[1] + (found[2] or "")


def _checked(found: Placement) -> Placement:
    if not 0 <= found.process_id < found.num_processes:
        raise ValueError(
            f"process {found.process_id} of {found.num_processes} ({found.launcher}): the numbers "
            f"of the processes are 0 to {found.num_processes - 1}."
        )
    return found


def _address(given: str | None, host: str, port: int) -> dict[str, Any]:
    if given is not None:
        host, port = split_address(given)
    return {"host": host, "port": port}


def _port(job: str) -> int:
    """Returns a port for a job, so that two jobs on a host seldom meet."""
    digest = hashlib.sha256(job.encode()).digest()
    return _FIRST_PORT + int.from_bytes(digest[:4]) % _NUM_PORTS


def _number(environ: Environ, name: str) -> int:
    try:
        return int(environ[name])
    except KeyError:
        raise ValueError(f"{name} is not set, which the launcher should have done.") from None
    except ValueError:
        raise ValueError(f"{name}={environ[name]}: not a number.") from None


def _step(environ: Environ, given: str | None) -> Placement | None:
    """Open MPI, whose daemons are a step of Slurm where that is, or Slurm."""
    return _open_mpi(environ, given) or _slurm(environ, given)


def _open_mpi(environ: Environ, given: str | None) -> Placement | None:
    """Open MPI 4 (whose daemons are ORTE's) and 5 (PRRTE's)."""
    if "OMPI_COMM_WORLD_SIZE" not in environ:
        return None
    uri = environ.get("OMPI_MCA_orte_hnp_uri", "")
    space = environ.get("PMIX_NAMESPACE", "")
    found = re.search(r"tcp://([^,:;]+)|tcp6://\[([^,\]]+)", uri) or re.match(
        r"prterun-(.+)-[0-9]+@[0-9]+$", space
    )
    host = next(filter(None, found.groups()), None) if found else None
    if host is None and given is None:
        raise ValueError(
            "mpirun does not tell where process 0 is: give --coordinator_address=HOST:PORT."
        )
    job = uri.partition(";")[0] + environ.get("PMIX_NAMESPACE", "")
    return Placement(
        process_id=_number(environ, "OMPI_COMM_WORLD_RANK"),
        num_processes=_number(environ, "OMPI_COMM_WORLD_SIZE"),
        **_address(given, host or "", _port(job)),
        launcher="Open MPI",
    )


def _slurm(environ: Environ, given: str | None) -> Placement | None:
    """A step of Slurm. The batch script itself has SLURM_NTASKS, but is one process."""
    if "SLURM_STEP_NUM_TASKS" not in environ or "SLURM_PROCID" not in environ:
        return None
    job = f"slurm {environ.get('SLURM_JOB_ID')}.{environ.get('SLURM_STEP_ID')}"
    nodes = environ.get("SLURM_STEP_NODELIST", "")
    return Placement(
        process_id=_number(environ, "SLURM_PROCID"),
        num_processes=_number(environ, "SLURM_STEP_NUM_TASKS"),
        **_address(given, "" if given else first_host(nodes), _port(job)),
        launcher="Slurm",
    )


def _environment(environ: Environ, given: str | None) -> Placement | None:
    """Kubernetes, or what else sets these variables, as the JobSet in tools/launch does."""
    if not {"JAX_NUM_PROCESSES", "JAX_PROCESS_ID"} & set(environ):
        return None
    address = given or environ.get("JAX_COORDINATOR_ADDRESS", "")
    if re.search(r":[0-9]+$", address) is None:
        address = f"{address}:{_DEFAULT_PORT}"
    name = "JAX_PROCESS_ID" if "JAX_PROCESS_ID" in environ else "JOB_COMPLETION_INDEX"
    return Placement(
        process_id=_number(environ, name),
        num_processes=_number(environ, "JAX_NUM_PROCESSES"),
        **_address(address, "", 0),
        launcher="environment",
    )


def _tpu(environ: Environ, given: str | None) -> Placement | None:
    """A slice of TPUs of several hosts, as GKE describes it."""
    hosts = [name for name in environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if name]
    if len(hosts) < 2:
        return None
    return Placement(
        process_id=_number(environ, "TPU_WORKER_ID"),
        num_processes=len(hosts),
        **_address(given, hosts[0], _DEFAULT_PORT),
        launcher="TPU",
    )


def _other_mpi(
    environ: Environ,
    given: str | None,
    load: Callable[[str], Any] = importlib.import_module,
) -> Placement | None:
    """MPICH and its kin, by mpi4py, which they need to tell where process 0 is."""
    if environ.get("PMI_SIZE", "1") in ("", "1"):
        return None
    rank, size = _number(environ, "PMI_RANK"), _number(environ, "PMI_SIZE")
    host = ""
    if given is None:
        try:
            world = load("mpi4py.MPI").COMM_WORLD
        except (ImportError, RuntimeError):
            raise ValueError(
                f"started by MPI in {size} processes, and without mpi4py nothing tells where "
                "process 0 is: install it, or give --coordinator_address=HOST:PORT."
            ) from None
        host = world.bcast(importlib.import_module("socket").gethostname(), root=0)
    job = f"mpi {environ.get('PMI_JOBID', environ.get('PMI_ID', ''))}"
    return Placement(
        process_id=rank,
        num_processes=size,
        **_address(given, host, _port(job)),
        launcher="mpi4py",
    )


def _torchrun(environ: Environ, given: str | None) -> None:
    """torchrun and its kin, which listen themselves at the only port that they tell.

    Raises:
        ValueError: if they have started several processes.
    """
    number = environ.get("WORLD_SIZE", "1")
    if number not in ("", "1") and "RANK" in environ:
        raise ValueError(
            f"WORLD_SIZE={number}: started by a launcher that is not known here. Give "
            "--distributed=manual, --num_processes, --process_id and --coordinator_address; or "
            "--distributed=off for runs of their own."
        )
