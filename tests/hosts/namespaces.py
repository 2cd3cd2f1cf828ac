"""Two "hosts" on this machine: network namespaces with addresses of their own and one link."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

ADDRESSES = ("10.213.77.1", "10.213.77.2")
CUT = "ip link set eth1 down"  # in either of them


class NotHereError(Exception):
    """This machine cannot have network namespaces."""


@contextlib.contextmanager
def two_hosts():
    """Yields the words before a command that run it on each host.

    Raises:
        NotHereError: if there can be none here.
    """
    if os.geteuid() or shutil.which("ip") is None:
        raise NotHereError("network namespaces: need root and ip (Debian: iproute2)")
    names = [f"mlpf-jax-{os.getpid()}-{i}" for i in range(len(ADDRESSES))]
    with contextlib.ExitStack() as stack:
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            _name_itself(name, address, stack)
        peer = ("type", "veth", "peer", "eth1", "netns", names[1])
        _ip("-n", names[0], "link", "add", "eth1", *peer)
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth1")
            for device in ("lo", "eth1"):
                _ip("-n", name, "link", "set", device, "up")
        yield [["ip", "netns", "exec", name] for name in names]


def _name_itself(name: str, address: str, stack: contextlib.ExitStack) -> None:
    """Gives the machine's name this address there, because gloo listens at it."""
    own = Path("/etc/netns", name)
    try:
        own.mkdir(parents=True)
        stack.callback(shutil.rmtree, own)
        (own / "hosts").write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
    except OSError as error:
        raise NotHereError(f"network namespaces: {error}") from None


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHereError(f"ip {' '.join(words)}: {done.stderr.strip()}")
