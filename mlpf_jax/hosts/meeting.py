"""The start of a run on several processes: all come to process 0, or all end."""

import contextlib
import dataclasses
import platform
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax.hosts import agreement, channel, launchers

_PROTOCOL = 1
_LONGEST_HELLO = 2**20  # bytes
_RETRY_S = 0.2
_CONNECT_S = 3.0  # for each address of process 0: one may lead nowhere, and the next one there
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True)
class Member:
    """A process of the run. Processes of one machine have the same `boot`."""

    process_id: int
    host: str
    boot: str
    devices: tuple[str, ...] = ()  # accelerators that it may use, as its launcher names them

    def __str__(self) -> str:
        return f"process {self.process_id} on {self.host}"


@dataclasses.dataclass(frozen=True)
class Met:
    """All members, and the channels of this process: to process 0, or from it to all others."""

    members: tuple[Member, ...]
    channels: Mapping[int, channel.Channel]


def myself(process_id: int, devices: Sequence[str] = ()) -> Member:
    """Returns this process as a member."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = platform.node()
    return Member(process_id, platform.node(), boot, tuple(devices))


def meet(
    place: launchers.Placement,
    member: Member,
    facts: agreement.Facts,
    timeout_s: float,
    *,
    poll: Callable[[], None] = lambda: None,
    server: socket.socket | None = None,
) -> Met:
    """Waits for all processes, and compares the facts of each with those of process 0.

    `poll` is called while waiting. `server` is where process 0 listens, if not at its port.

    Raises:
        ValueError: if one does not come in time, comes twice, or differs; one line with its number
            and host.
    """
    if place.process_id:
        return _go(place, member, facts, timeout_s, poll)
    with contextlib.closing(server or _listen(place.port)) as listening:
        return _host(listening, place, member, facts, timeout_s, poll)


def _listen(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise ValueError(
            f"process 0 cannot listen at port {port}: {error.strerror}. Give another with "
            "--coordinator_address=HOST:PORT."
        ) from None


def _host(
    server: socket.socket,
    place: launchers.Placement,
    member: Member,
    facts: agreement.Facts,
    timeout_s: float,
    poll: Callable[[], None],
) -> Met:
    members, channels = {0: member}, {}
    refusal = None
    for link, hello in _hellos(server, timeout_s, poll):
        try:
            other = _member(hello)
            theirs, number = {**hello["facts"]}, int(hello["processes"])
        except (KeyError, OverflowError, TypeError, ValueError):
            link.close()  # no process of ours
            continue
        if number != place.num_processes or not 0 < other.process_id < number:
            refusal = f"{other} says that it is one of {number}, and here {place.num_processes} are"
            refusal += " expected"
        elif other.process_id in members:
            refusal = f"{other} has come, but {members[other.process_id]} is here already"
        else:
            refusal = agreement.difference(facts, theirs, str(other))
        link.most_bytes = channel.MOST_BYTES
        if other.process_id in channels:
            _tell([link], {"kind": "end", "reason": refusal})
            link.close()
        channels.setdefault(other.process_id, link)
        members.setdefault(other.process_id, other)
        if refusal is not None or len(members) == place.num_processes:
            break
    if refusal is None and len(members) < place.num_processes:
        refusal = _absent(place.num_processes, members, timeout_s)
    if refusal is not None:
        _tell(channels.values(), {"kind": "end", "reason": refusal})
        for link in channels.values():
            link.close()
        raise ValueError(refusal)
    ordered = tuple(members[number] for number in range(place.num_processes))
    roster = [dataclasses.asdict(one) for one in ordered]
    _tell(channels.values(), {"kind": "start", "members": roster})
    return Met(ordered, channels)


def _absent(number: int, members: Mapping[int, Member], timeout_s: float) -> str:
    absent = [str(one) for one in range(number) if one not in members]
    shown = ", ".join(absent[:8]) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
    hosts = ", ".join(sorted({one.host for one in members.values()})[:8])
    return (
        f"process {shown} of {number} did not come within {timeout_s:g} s (here: "
        f"{len(members)} on {hosts})"
    )


def _hellos(
    server: socket.socket, timeout_s: float, poll: Callable[[], None]
) -> Iterator[tuple[channel.Channel, Mapping[str, Any]]]:
    """Yields who connects and says something, until the time is over."""
    deadline_s = time.monotonic() + timeout_s
    silent: set[channel.Channel] = set()  # connected, and have not said anything
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        stack.callback(lambda: [link.close() for link in silent])
        selector.register(server, selectors.EVENT_READ)
        while (left_s := deadline_s - time.monotonic()) > 0:
            poll()
            for key, _ in selector.select(min(left_s, _RETRY_S)):
                if key.fileobj is server:
                    line, _ = server.accept()
                    link = channel.Channel(line, patience_s=timeout_s, most_bytes=_LONGEST_HELLO)
                    selector.register(link, selectors.EVENT_READ, link)
                    silent.add(link)
                    continue
                link = key.data
                try:
                    messages = link.receive()
                except channel.Closed:
                    selector.unregister(link)
                    silent.remove(link)
                    link.close()
                    continue
                if messages:
                    selector.unregister(link)
                    silent.remove(link)
                    yield link, messages[0]


def _go(
    place: launchers.Placement,
    member: Member,
    facts: agreement.Facts,
    timeout_s: float,
    poll: Callable[[], None],
) -> Met:
    deadline_s = time.monotonic() + timeout_s
    link = channel.Channel(_connect(place, deadline_s, timeout_s, poll), patience_s=timeout_s)
    # Process 0 may have come later, and then waits longer than this one.
    deadline_s = time.monotonic() + timeout_s
    hello = {
        "mlpf_jax": _PROTOCOL,
        "processes": place.num_processes,
        "member": dataclasses.asdict(member),
        "facts": dict(facts),
    }
    with contextlib.ExitStack() as stack:
        stack.callback(link.close)
        try:
            link.send(hello)
            answer = _answer(link, deadline_s, poll)
        except channel.Closed as error:
            raise ValueError(f"process 0 on {place.host} ended: {error}") from None
        if answer is None:
            raise ValueError(f"process 0 on {place.host}: no answer within {timeout_s:g} s")
        if answer.get("kind") != "start":
            raise ValueError(str(answer.get("reason", "process 0 refuses this process")))
        stack.pop_all()  # the connection stays
    members = tuple(_member({"mlpf_jax": _PROTOCOL, "member": one}) for one in answer["members"])
    return Met(members, {0: link})


def _connect(
    place: launchers.Placement, deadline_s: float, timeout_s: float, poll: Callable[[], None]
) -> socket.socket:
    while True:
        poll()
        left_s = deadline_s - time.monotonic()
        try:
            timeout_now_s = min(max(left_s, 0.01), _CONNECT_S)
            return socket.create_connection((place.host, place.port), timeout=timeout_now_s)
        except OSError as error:
            if left_s < _RETRY_S:
                raise ValueError(
                    f"process 0 was not reached at {place.host}, port {place.port}, within "
                    f"{timeout_s:g} s ({error.strerror or error}): it did not start, or "
                    "--coordinator_address=HOST:PORT must say where it is"
                ) from None
            time.sleep(_RETRY_S)


def _answer(
    link: channel.Channel, deadline_s: float, poll: Callable[[], None]
) -> channel.Message | None:
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        while time.monotonic() < deadline_s:
            poll()
            if selector.select(_RETRY_S) and (messages := link.receive()):
                return messages[0]
    return None


def _member(hello: Mapping[str, Any]) -> Member:
    if hello["mlpf_jax"] != _PROTOCOL:
        raise ValueError("another protocol")
    found = hello["member"]
    host = "".join(c for c in str(found["host"])[:80] if c.isprintable())
    devices = tuple(map(str, found["devices"]))
    return Member(int(found["process_id"]), host, str(found["boot"]), devices)


def _tell(links: Any, message: channel.Message) -> None:
    for link in links:
        with contextlib.suppress(channel.Closed):
            link.send(message)
