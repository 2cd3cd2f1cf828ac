"""JAX's own runtime is joined in time or not at all, and devices are shared evenly."""

import jax
import pytest

from mlpf_jax import main, options, runtime, stopping
from mlpf_jax.hosts import group, launchers, meeting, starting
from mlpf_jax.run import devices


def members(*seen_by_each):
    """Processes on one machine, with the devices that each sees."""
    return tuple(meeting.Member(i, "a", "boot", seen) for i, seen in enumerate(seen_by_each))


def test_a_coordinator_that_is_not_reached_is_told_in_time(monkeypatch):
    given = {}

    def initialize(address, number, process_id, **settings):
        given.update(settings)
        raise RuntimeError("DEADLINE_EXCEEDED: Barrier timed out.\nDetails follow.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda option, value: None)
    monkeypatch.setenv("no_grpc_proxy", "")
    place = launchers.Placement(
        process_id=0, num_processes=1, host="a.example", port=1, launcher="test"
    )
    alone = group.Group(meeting.Met(members(()), {}), place, stopping.Stop(), 40.0)

    with pytest.raises(ValueError, match="within 40 s") as error:
        starting.start_jax(alone, [])

    assert str(error.value).startswith("JAX did not connect process 0 on a with its coordinator")
    assert "(DEADLINE_EXCEEDED: Barrier timed out.)" in str(error.value)
    assert given["initialization_timeout"] == 40
    assert given["local_device_ids"] == []


def test_a_process_takes_all_gpus_that_the_system_does_not_name(monkeypatch):
    """Of AMD, for example: JAX tells how many there are, and not the number of virtual devices."""
    taken = []
    place = launchers.Placement(process_id=1, num_processes=2, host="a", port=1, launcher="test")
    of_two = group.Group(meeting.Met(members((), ()), {}), place, stopping.Stop(), 40.0)
    parsed = options.define()
    parsed(["test", "--platform=gpu"])
    monkeypatch.setattr(starting, "start_jax", lambda group, numbers: taken.append(list(numbers)))
    monkeypatch.setattr(runtime, "set_up_jax", lambda number: None)
    monkeypatch.setattr(devices, "find", lambda platform, everywhere: None)

    main._start_jax(options.read(parsed), 4, of_two)

    assert taken == [[]]


def test_processes_that_see_the_same_devices_share_them_evenly():
    two, three = members(("0", "1"), ("0", "1")), members(*3 * [("0", "1")])

    assert [starting.own_share(two, one) for one in range(2)] == [[0], [1]]
    assert starting.own_share(members(("0", "1"), ("2", "3")), 1) == [0, 1]
    with pytest.raises(ValueError, match="2 accelerators on a cannot be shared evenly by 3"):
        starting.own_share(three, 0)


def test_containers_of_one_machine_share_no_devices_that_each_has_alone(tmp_path, monkeypatch):
    seen = []
    for name, numbers in (("first", "12"), ("second", "34")):
        for number in numbers:
            (tmp_path / name / f"0000:0{number}:00.0").mkdir(parents=True)
        monkeypatch.setattr(starting, "_GPUS", ((tmp_path / name, "*"),))
        seen.append(starting.visible_devices({}))

    assert [starting.own_share(members(*seen), one) for one in range(2)] == [[0, 1], [0, 1]]


def test_where_proc_names_no_gpus_their_files_do_unless_only_the_cpu_is_asked(
    tmp_path, monkeypatch
):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    kinds = ((tmp_path / "missing", "*"), (tmp_path, starting._GPUS[1][1]))
    monkeypatch.setattr(starting, "_GPUS", kinds)

    assert starting.visible_devices({}) == ("nvidia0", "nvidia1")
    assert starting.visible_devices({"CUDA_VISIBLE_DEVICES": "1"}) == ("1",)
    assert starting.visible_devices({"JAX_PLATFORMS": "cpu"}) == ()
