"""A cluster of Slurm with one node, this machine: its daemons run in the foreground, for a test."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sinfo")
_WAIT_S = 60
_END_S = 10
_CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here; None if there can."""
    if os.geteuid():
        return "Slurm: needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(lacking)}: not installed (Debian: slurm-wlm)" if lacking else None


@contextlib.contextmanager
def cluster(folder: Path):
    """Yields the environment in which srun finds the cluster."""
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            ports.append(server.getsockname()[1])
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=ports)
    )
    environ = {"SLURM_CONF": str(conf)}
    of_munge = [
        f"--{name}={folder}/munge.{end}"
        for name, end in (
            ("key-file", "key"),
            ("socket", "sock"),
            ("pid-file", "pid"),
            ("log-file", "log"),
            ("seed-file", "seed"),
        )
    ]
    with contextlib.ExitStack() as stack:
        for words in (
            ["munged", "--foreground", "--force", *of_munge],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D"],
        ):
            log = stack.enter_context((folder / f"{words[0]}.log").open("wb"))
            daemon = subprocess.Popen(
                words, env=os.environ | environ, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(_end, daemon)
        _wait_until_idle(os.environ | environ)
        yield environ


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(_END_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _wait_until_idle(environ) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline_s:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise AssertionError(f"the cluster does not start: {done.stdout}{done.stderr}")
