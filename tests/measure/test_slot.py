"""The share of a machine, read from made-up control groups of both versions."""

import pytest

from mlpf_jax.measure import slot

UNLIMITED = "9223372036854771712"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max data size             {data:<20} unlimited            bytes     \n"
    "Max address space         {space:<20} unlimited            bytes     \n"
    "Max processes             {processes:<20} unlimited            processes \n"
)
GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """Returns a function that makes a machine of four cores and 16 GiB with these files."""

    def make(cgroup="", mountinfo=(), groups=(), allowed="0-3", **limits):
        kib = GIB // 1024
        texts = {
            "proc/meminfo": f"MemTotal: {16 * kib} kB\nMemAvailable: {10 * kib} kB\n",
            "proc/self/status": f"VmSize:\t{kib} kB\nVmData:\t{kib} kB\n"
            f"Cpus_allowed_list:\t{allowed}\n",
            "proc/self/limits": LIMITS.format_map(
                dict.fromkeys(("data", "space", "processes"), "unlimited") | limits
            ),
            "proc/self/cgroup": cgroup,
            "proc/self/mountinfo": "".join(f"{line}\n" for line in mountinfo),
        }
        texts |= {f"sys/fs/cgroup/{name}": text for name, text in dict(groups).items()}
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_without_limits_the_slot_is_the_machine(machine):
    root = machine("0::/user.slice\n", [V2_MOUNT], {"user.slice/cpu.max": "max 100000\n"})

    assert slot.read(root) == slot.Slot(
        allowed_cores=(0, 1, 2, 3),
        cpu_quota=None,
        control_groups="v2",
        memory_bytes=16 * GIB,
    )
    assert slot.free_memory_bytes(root) == 10 * GIB
    assert slot.num_cores(root) == 4


def test_the_affinity_names_single_cores(machine):
    assert slot.read(machine(allowed="0-1,3")).allowed_cores == (0, 1, 3)


@pytest.mark.parametrize(
    ("quota", "num_cores"), [(50_000, 1), (100_000, 1), (150_000, 2), (250_000, 3), (900_000, 4)]
)
def test_a_quota_of_version_2_limits_the_cores(machine, quota, num_cores):
    root = machine("0::/job\n", [V2_MOUNT], {"job/cpu.max": f"{quota} 100000\n"})

    assert slot.read(root).cpu_quota == quota / 100_000
    assert slot.num_cores(root) == num_cores


def test_a_quota_of_version_1_limits_the_cores(machine):
    groups = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/job/cpu.stat": "nr_periods 711\nnr_throttled 703\nthrottled_time 9\n",
    }
    root = machine("4:memory:/\n2:cpu,cpuacct:/job\n0::/\n", [V1_CPU, V1_MEMORY], groups)

    assert slot.read(root).cpu_quota == 0.5
    assert slot.read(root).control_groups == "v1"
    assert slot.throttling(root) == slot.Throttling(711, 703)


def test_the_tightest_of_nested_quotas_counts_and_is_watched(machine):
    groups = {
        "pod/cpu.max": "150000 100000\n",
        "pod/cpu.stat": "nr_periods 9\nnr_throttled 3\n",
        "pod/container/cpu.max": "300000 100000\n",
        "pod/container/cpu.stat": "nr_periods 5\nnr_throttled 1\n",
    }
    root = machine("0::/pod/container\n", [V2_MOUNT], groups)

    assert slot.read(root).cpu_quota == 1.5
    assert slot.throttling(root) == slot.Throttling(9, 3)


def test_no_quota_is_never_throttled(machine):
    assert slot.throttling(machine("0::/\n", [V2_MOUNT])) is None


def test_a_container_sees_its_group_at_the_top_of_the_mount(machine):
    """Version 1 without a name space: the path is the host's, the mount is the container's."""
    mount = V1_MEMORY.replace(" / /sys", " /docker/123 /sys")
    groups = {"memory/memory.limit_in_bytes": f"{2 * GIB}", "memory/memory.usage_in_bytes": "0"}

    for path in ("/docker/123", "/", "/../other"):
        root = machine(f"4:memory:{path}\n", [mount], groups)
        assert slot.read(root).memory_bytes == 2 * GIB
    inner = "memory/job/memory.limit_in_bytes"
    root = machine("4:memory:/docker/123/job\n", [mount], groups | {inner: f"{GIB}"})
    assert slot.read(root).memory_bytes == GIB


def test_memory_is_limited_at_every_level_and_by_pressure(machine):
    groups = {
        "a/memory.max": f"{8 * GIB}\n",
        "a/memory.current": f"{5 * GIB}\n",
        "a/memory.stat": f"anon 1\ninactive_file {GIB}\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.high": f"{6 * GIB}\n",
        "a/b/memory.current": f"{GIB}\n",
    }
    root = machine("0::/a/b\n", [V2_MOUNT], groups)

    assert slot.read(root).memory_bytes == 6 * GIB
    assert slot.free_memory_bytes(root) == 4 * GIB  # of the outer group's: 8 - (5 - 1)


def test_memory_of_version_1_knows_what_lies_above_the_name_space(machine):
    groups = {
        "memory/memory.limit_in_bytes": UNLIMITED,
        "memory/memory.usage_in_bytes": "0",
        "memory/memory.stat": f"hierarchical_memory_limit {3 * GIB}\ntotal_inactive_file 0\n",
    }
    assert slot.read(machine("4:memory:/\n", [V1_MEMORY], groups)).memory_bytes == 3 * GIB


def test_a_batch_system_may_limit_the_address_space(machine):
    root = machine(space=str(4 * GIB))

    assert slot.read(root).memory_bytes == 4 * GIB
    assert slot.free_memory_bytes(root) == 3 * GIB


def test_free_memory_is_never_negative(machine):
    groups = {"memory.max": "100", "memory.current": "200"}

    assert slot.free_memory_bytes(machine("0::/\n", [V2_MOUNT], groups)) == 0


def test_missing_files_mean_unknown_values(tmp_path):
    found = slot.read(tmp_path)

    assert (found.allowed_cores, found.control_groups, found.memory_bytes) == (None, None, None)
    assert slot.free_memory_bytes(tmp_path) is None
    assert found.num_cores >= 1


def test_invalid_limits_are_ignored(machine):
    groups = {"cpu.max": "banana 100000", "memory.max": "", "cpu.stat": "nr_periods many\n"}
    root = machine("no cgroup here\n0::/gone\n", [V2_MOUNT, "cut off - cgroup2", ""], groups)

    assert slot.read(root).cpu_quota is None
    assert slot.read(root).memory_bytes == 16 * GIB


V2_PIDS = {
    "job/step/pids.max": "max\n",
    "job/step/pids.current": "90\n",
    "job/pids.max": "100\n",
    "job/pids.current": "93\n",
}
V1_PIDS = {"pids/job/pids.max": "50\n", "pids/job/pids.current": "8\n"}
V1_PIDS_MOUNT = "33 23 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids"


@pytest.mark.parametrize(
    ("given", "user", "free"),
    [
        ({}, 12345, None),
        ({"cgroup": "0::/job/step\n", "mountinfo": [V2_MOUNT], "groups": V2_PIDS}, 0, 7),
        ({"cgroup": "8:pids:/job\n", "mountinfo": [V1_PIDS_MOUNT], "groups": V1_PIDS}, 0, 42),
        ({"processes": "60"}, 12345, 60),
        ({"processes": "60"}, 0, None),
    ],
)
def test_threads_are_limited_by_groups_and_but_for_root_by_the_user(
    machine, monkeypatch, given, user, free
):
    monkeypatch.setattr(slot.os, "geteuid", lambda: user)

    assert slot.free_threads(machine(**given)) == free
