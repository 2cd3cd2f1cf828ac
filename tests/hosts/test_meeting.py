"""All processes of a run come together at process 0, or all end with the same line."""

import concurrent.futures
import dataclasses
import socket

import pytest

from mlpf_jax.hosts import launchers, meeting

HELLO = (
    b'{"mlpf_jax": 1, "processes": 2, "facts": {}, '
    b'"member": {"process_id": 1, "host": "c", "boot": "", "devices": []}}\n'
)
FACTS = {"commit": "a" * 40, "arguments": "--seed=1"}


def come(server, process_id, number=2, facts=FACTS, timeout_s=10.0, host="b"):
    place = launchers.Placement(
        process_id=process_id,
        num_processes=number,
        host="127.0.0.1",
        port=server.getsockname()[1],
        launcher="test",
    )
    member = meeting.Member(process_id, host if process_id else "a", f"boot {process_id}")
    return meeting.meet(place, member, facts, timeout_s, server=None if process_id else server)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def start(server, *calls):
    """Returns the futures of processes that start at the same time."""
    pool = concurrent.futures.ThreadPoolExecutor(len(calls))
    futures = [pool.submit(come, server, *call[:1], **dict(call[1:])) for call in calls]
    pool.shutdown(wait=True)
    for one in futures:
        if one.exception() is None:
            for link in one.result().channels.values():
                link.close()
    return futures


def test_all_learn_who_the_others_are(server):
    met = [
        one.result()
        for one in start(server, (2, ("number", 3)), (0, ("number", 3)), (1, ("number", 3)))
    ]

    assert {tuple(map(str, one.members)) for one in met} == {
        ("process 0 on a", "process 1 on b", "process 2 on b")
    }
    assert sorted(met[1].channels) == [1, 2]
    assert sorted(met[0].channels) == [0]


def errors_of(futures):
    return [str(one.exception()) for one in futures]


def test_a_process_that_differs_is_named_by_all(server):
    other = {**FACTS, "commit": "b" * 40}

    said = errors_of(start(server, (0,), (1, ("facts", other))))

    assert set(said) == {
        "process 1 on b differs: commit is bbbbbbbbbbbb there and aaaaaaaaaaaa in process 0"
    }


def test_a_process_that_does_not_come_is_named(server):
    said = errors_of(
        start(
            server,
            (0, ("number", 3), ("timeout_s", 0.3)),
            (2, ("number", 3), ("timeout_s", 5.0)),
        )
    )

    assert set(said) == {"process 1 of 3 did not come within 0.3 s (here: 2 on a, b)"}


def test_a_number_that_comes_twice_is_refused(server):
    said = errors_of(
        start(
            server,
            (0, ("number", 3)),
            (1, ("number", 3), ("host", "b")),
            (1, ("number", 3), ("host", "c")),
        )
    )

    assert "process 1 on" in said[0]
    assert "is here already" in said[0]


def test_another_number_of_processes_is_refused(server):
    said = errors_of(start(server, (0,), (1, ("number", 4))))

    assert set(said) == {"process 1 on b says that it is one of 4, and here 2 are expected"}


def test_a_process_0_that_does_not_listen_is_named():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        pass_on = dataclasses.replace(
            launchers.Placement(
                process_id=1, num_processes=2, host="127.0.0.1", port=1, launcher="test"
            ),
            port=closed.getsockname()[1],
        )

    with pytest.raises(ValueError, match="process 0 was not reached at 127"):
        meeting.meet(pass_on, meeting.Member(1, "b", ""), FACTS, 0.3)


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"[1]\n",
        b'{"mlpf_jax": 1}\n',
        HELLO.replace(b'"process_id": 1', b'"process_id": 1e999'),
        HELLO.replace(b'"processes": 2', b'"processes": Infinity'),
        HELLO.replace(b"{}", b'[[1, 1], ["a", 1]]'),
    ],
)
def test_strangers_at_the_port_are_left_alone(server, noise):
    with socket.create_connection(server.getsockname()) as stranger:
        stranger.sendall(noise)
        met = [one.result() for one in start(server, (0,), (1,))]

    assert len(met[0].members) == 2
