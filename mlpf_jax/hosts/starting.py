"""Starts JAX's distributed runtime for a group of processes, and divides the devices."""

import math
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlpf_jax import errors
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import meeting, relay

# JAX ends its processes by an abort; ours end in order long before.
_NEVER_S = 10 * 24 * 3600
_START_S = 30  # at least, for JAX to connect the processes
# A container may hide the first.
_GPUS = ((Path("/proc/driver/nvidia/gpus"), "*"), (Path("/dev"), "nvidia[0-9]*"))
# Variables that hide GPUs from CUDA and HIP.
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def visible_devices(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Returns names of the GPUs that this process may use, without asking a driver."""
    if environ.get("JAX_PLATFORMS") == "cpu":
        return ()
    for name in HIDING:
        if name in environ:
            return tuple(part.strip() for part in environ[name].split(",") if part.strip())
    for folder, pattern in _GPUS:
        if found := sorted(path.name for path in folder.glob(pattern)):
            return tuple(found)  # of two containers: other ones
    return ()


def own_share(members: Sequence[meeting.Member], process_id: int) -> list[int]:
    """Returns which of the visible accelerators this process takes, by their place.

    Processes of one machine that see the same ones share them; otherwise each takes all it sees.

    Raises:
        ValueError: if they cannot be shared evenly.
    """
    me = members[process_id]
    number = len(me.devices)
    sharing = [
        one.process_id for one in members if one.boot == me.boot and one.devices == me.devices
    ]
    if number % len(sharing):
        raise ValueError(
            f"{number} accelerators on {me.host} cannot be shared evenly by {len(sharing)} "
            "processes: start one process for each, or one for all."
        )
    each = number // len(sharing)
    first = sharing.index(process_id) * each
    return list(range(first, first + each))


def start_jax(group: group_lib.Group, local_device_ids: Sequence[int]) -> None:
    """Joins the distributed runtime, whose coordinator runs in process 0 at a free port.

    Without numbers of GPUs, this process takes all that JAX finds.

    Raises:
        ValueError: if a process does not reach it in time.
    """
    import jax

    for option, value in {
        "jax_enable_preemption_service": False,  # `stopping` handles the signals
        "jax_check_proxy_envs": False,
    }.items():
        if option in jax.config.values:
            jax.config.update(option, value)
    os.environ["no_grpc_proxy"] = "*"  # noqa: SIM112 - gRPC's own name
    port = group.share(_free_port() if group.process_id == 0 else None)
    place = group.place
    # Of process 0, which JAX starts the coordinator in; the others reach it by a relay.
    address = f"127.0.0.1:{port}"
    if place.process_id:
        address = relay.start(place.host, port, group.timeout_s)
    everywhere = "[::]" if socket.has_dualstack_ipv6() else "0.0.0.0"
    timeout_s = max(_START_S, math.ceil(group.timeout_s))
    try:
        jax.distributed.initialize(
            address,
            place.num_processes,
            place.process_id,
            local_device_ids=list(local_device_ids),
            cluster_detection_method="deactivate",
            coordinator_bind_address=f"{everywhere}:{port}",
            initialization_timeout=timeout_s,
            heartbeat_timeout_seconds=_NEVER_S,
        )
    except RuntimeError as error:
        raise ValueError(
            f"JAX did not connect {group.me} with its coordinator at {place.host}, port {port}, "
            f"within {timeout_s} s ({errors.one_line(error)[:160]}): a firewall between "
            "the hosts must let all ports pass."
        ) from None


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]
