"""The processes of a run meet, show that they live, and end together."""

import concurrent.futures
import contextlib
import socket
import threading

import pytest

from mlpf_jax import stopping
from mlpf_jax.hosts import agreement, channel, group, launchers, meeting

MEMBERS = tuple(meeting.Member(i, f"host{i}", f"boot{i // 2}") for i in range(3))


class Stop(stopping.Stop):
    """Takes what a group tells the process that must end."""

    def __init__(self):
        super().__init__()
        self.asked, self.left = [], []
        self.has_news = threading.Event()

    def ask(self, reason, status):
        self.asked.append(reason)
        self.has_news.set()

    def leave(self, reason):
        self.left.append(reason)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def team():
    """Three groups that are connected, as in three processes, with their stops."""
    with contextlib.ExitStack() as stack:
        pairs = {number: socket.socketpair() for number in (1, 2)}
        clock = Clock()
        links = {
            (number, end): stack.enter_context(
                contextlib.closing(channel.Channel(pair[end], patience_s=5.0, clock=clock))
            )
            for number, pair in pairs.items()
            for end in (0, 1)
        }
        of_first = {number: links[number, 0] for number in pairs}
        channels = [of_first, {0: links[1, 1]}, {0: links[2, 1]}]
        stops = [Stop() for _ in MEMBERS]
        yield (
            [
                group.Group(meeting.Met(MEMBERS, mine), place(number), stop, 30.0, clock)
                for number, (mine, stop) in enumerate(zip(channels, stops, strict=True))
            ],
            stops,
        )


def place(number):
    return launchers.Placement(
        process_id=number, num_processes=3, host="host0", port=1, launcher="test"
    )


def in_all(groups, call):
    """Returns what `call` returns or raises in each process."""
    with concurrent.futures.ThreadPoolExecutor(len(groups)) as pool:
        futures = [pool.submit(call, one) for one in groups]
    return [one.exception() or one.result() for one in futures]


def started(groups):
    return [one.start() for one in groups]


def test_the_value_of_process_0_reaches_all(team):
    groups = started(team[0])

    rounds = [in_all(groups, lambda one, n=n: one.share((n, one.process_id))) for n in range(3)]

    assert rounds == [[(0, 0), [0, 0], [0, 0]], [(1, 0), [1, 0], [1, 0]], [(2, 0), [2, 0], [2, 0]]]


def test_process_0_gathers_the_values_of_all_in_order(team):
    groups = started(team[0])

    assert in_all(groups, lambda one: one.gather(one.process_id * 10)) == [[0, 10, 20], [], []]


def test_a_difference_ends_all_with_one_line(team):
    groups = started(team[0])

    ended = in_all(groups, lambda one: one.agree({"data": str(one.process_id // 2)}))

    line = "process 2 on host2 differs: data is 1 there and 0 in process 0"
    assert [str(one) for one in ended] == [line] * 3
    assert [type(one) for one in ended] == [ValueError, stopping.Stopped, stopping.Stopped]


def test_a_silent_process_is_named(team):
    groups, stops = team
    groups[0]._clock.now = 3.0
    groups[0].look()
    groups[0]._channels[1].heard_s = 25.0
    for now in range(4, 30):
        groups[0]._clock.now = float(now)
        groups[0].look()

    assert stops[0].left == ["lost process 2 on host2: no sign of life for 24 s"]


def test_an_error_is_blamed_on_a_process_that_is_silent(team, monkeypatch):
    monkeypatch.setattr(group, "_SETTLE_S", 0.0)
    groups, _ = team
    groups[0]._clock.now = 6.0
    groups[0]._channels[1].heard_s = 5.0

    with pytest.raises(stopping.Stopped) as stopped:
        groups[0].settle("Read timeout")
    groups[0]._channels[2].heard_s = 5.0
    groups[0].settle("out of memory")  # nobody is: the error is its own

    line = "lost process 2 on host2: no sign of life for 6 s (Read timeout)"
    assert stopped.value.reason == line


def test_a_message_that_is_not_taken_whole_closes_the_connection():
    ours, theirs = socket.socketpair()
    with theirs:
        link = channel.Channel(ours, patience_s=0.05)
        with pytest.raises(channel.Closed, match="takes nothing"):
            link.send({"value": "x" * 2**22})

        with pytest.raises(channel.Closed, match="its connection closed"):
            link.receive()
        link.close()


def test_a_process_that_was_stopped_itself_blames_nobody(team):
    groups, stops = team

    groups[0]._clock.now = 1000.0
    groups[0].look()

    assert stops[0].left == []


def test_a_process_that_cannot_watch_the_others_ends(team, monkeypatch):
    groups, stops = team
    monkeypatch.setattr(groups[0], "look", lambda: {}["x"])
    monkeypatch.setattr(group, "_TICK_S", 0.0)

    groups[0]._watch()

    assert stops[0].left == ["the watch of the processes failed: KeyError('x')"]


def test_the_death_of_a_process_ends_all_others(team):
    groups, stops = team
    started([groups[0], groups[2]])

    groups[1]._channels[0].close()

    for stop in (stops[0], stops[2]):
        assert stop.has_news.wait(10)
        assert stop.asked == ["lost process 1 on host1: its connection closed"]


def test_the_death_of_process_0_ends_all_others(team):
    groups, stops = team
    started(groups[1:])

    for link in groups[0]._channels.values():
        link.close()

    for stop in stops[1:]:
        assert stop.has_news.wait(10)
        assert stop.asked == ["lost process 0 on host0: its connection closed"]


@pytest.mark.parametrize("leaver", [0, 1])
def test_who_leaves_tells_the_others_why(team, leaver):
    groups, stops = team
    others = [one for one in range(3) if one != leaver]
    started([groups[one] for one in others])

    groups[leaver].leave("out of memory")

    for one in others:
        assert stops[one].has_news.wait(10)
        assert stops[one].asked == [f"process {leaver} on host{leaver} ended: out of memory"]
        assert stops[one].left == []  # its main thread ends it, and saves
    # If its own main thread hangs meanwhile, this ends it.
    assert stops[leaver].asked == ["out of memory"]


@pytest.mark.parametrize("is_waiting", [True, False])
def test_who_waits_for_a_dead_process_ends_by_itself_and_can_save(team, is_waiting):
    groups, stops = team
    groups[0]._is_waiting = is_waiting

    groups[0]._lose(1, "its connection closed")

    line = "lost process 1 on host1: its connection closed"
    assert stops[0].asked == [line]
    assert stops[0].left == ([] if is_waiting else [line])
    with pytest.raises(stopping.Stopped, match=line):
        groups[0].share()


def test_who_waits_for_a_process_at_long_work_does_not_count_as_hung(team, monkeypatch):
    monkeypatch.setattr(group, "_TICK_S", 0.0)
    groups, stops = team
    stops[1]._quiet_ticks = 1799
    looks = iter([False, True, True])

    groups[1]._wait(lambda: next(looks))

    assert stops[1]._quiet_ticks == 0


def test_the_end_of_a_finished_run_is_no_death(team):
    groups, stops = team
    started(groups)

    in_all(groups, lambda one: one.finish())
    for one in groups:
        for link in one._channels.values():
            link.close()

    assert [stop.asked + stop.left for stop in stops] == [[], [], []]


def test_the_first_process_of_each_machine_is_known(team):
    assert [one.is_first_here for one in team[0]] == [True, False, True]


def test_values_that_are_not_messages_close_the_connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = channel.Channel(ours, patience_s=1.0, most_bytes=8)
        theirs.sendall(b"[]\n")
        with pytest.raises(channel.Closed, match="protocol"):
            link.receive()
        theirs.sendall(b"123456789")
        with pytest.raises(channel.Closed, match="too long"):
            link.receive()


class Full(socket.socket):
    """The end of a connection that must not be written to, because that would wait."""

    def sendall(self, content, *flags):
        raise AssertionError("it would wait")


def test_a_sign_of_life_waits_neither_for_a_full_buffer_nor_for_another_thread():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 2**16)
    with theirs, Full(fileno=ours.detach()) as full:
        link = channel.Channel(full, patience_s=3600.0)
        with pytest.raises(channel.Closed, match="takes nothing"):
            link.send({"kind": "alive"}, within_s=0.0)
        with link._sending, pytest.raises(channel.Closed, match="takes nothing"):
            link.send({"kind": "alive"}, within_s=0.0)


def test_equal_facts_have_no_difference_in_any_order():
    facts = {"a": "1", "b": "2"}

    assert agreement.difference(facts, dict(reversed(facts.items())), "x") is None
