"""A relay to JAX's coordinator, behind which its death is not seen.

JAX aborts a process, with a stack trace, as soon as the connection to its coordinator closes, and
offers no other way. Behind this relay the connection stays open when process 0 has died, and the
watch of the group ends the process in order.
"""

import contextlib
import socket
import threading

_BYTES = 2**16


def start(host: str, port: int, timeout_s: float) -> str:
    """Relays connections to `host` and `port`, from threads; returns the address to connect to."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=_serve, args=(server, host, port, timeout_s), name="relay", daemon=True
    ).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


def _serve(server: socket.socket, host: str, port: int, timeout_s: float) -> None:
    while True:
        near, _ = server.accept()
        try:
            far = socket.create_connection((host, port), timeout_s)
        except OSError:  # not yet there: the client tries again
            near.close()
            continue
        for line in (near, far):
            line.settimeout(None)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=_pass_on, args=ends, name="relay", daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes; the end of it is kept to itself."""
    with contextlib.suppress(OSError):
        while content := source.recv(_BYTES):
            target.sendall(content)
