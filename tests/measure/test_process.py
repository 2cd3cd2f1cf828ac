"""System settings of a process, from fake files and from this process itself."""

import os

import pytest

from mlpf_jax.measure import process

MAPS = """\
00400000-00500000 r-xp 00000000 fe:00 100 /usr/bin/python3.11
7f0000000000-7f0000100000 r-xp 00000000 fe:00 101 /srv/site lib/libjemalloc.so.2
7f0000200000-7f0000300000 r-xp 00000000 fe:00 102 /usr/lib/libc.so.6
7f0000400000-7f0000500000 rw-p 00000000 00:00 0
what no kernel writes
"""


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0x7F0000000010, "libjemalloc.so.2"),
        (0x7F0000200010, "libc"),
        (0x400010, "python3.11"),
        (0x7F0000400010, None),
        (0x7F0000500010, None),
        (0x10, None),
        (None, None),
    ],
)
def test_the_allocator_is_the_library_that_holds_malloc(address, name):
    assert process.whose_malloc(MAPS, address) == name


@pytest.mark.parametrize("name", ["libc.so.6", "libc-2.31.so", "libc.musl-x86_64.so.1"])
def test_every_c_library_is_recognised_as_libc(name):
    assert process.whose_malloc(f"10-20 r-xp 0 fe:00 1 /lib/{name}\n", 0x11) == "libc"


def test_system_settings_are_read(tmp_path):
    texts = {
        "proc/self/status": "Name:\tpython\nMems_allowed_list:\t0-1\n",
        "proc/meminfo": "SwapTotal:       1024 kB\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "sys/devices/system/node/node0/cpulist": "0\n",
        "sys/devices/system/node/node1/cpulist": "1\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    found = process.read(tmp_path)

    assert found.transparent_huge_pages == "madvise"
    assert (found.numa_nodes, found.allowed_numa_nodes) == (2, "0-1")
    assert found.swap_bytes == 1024 * 1024
    assert found.niceness == os.getpriority(os.PRIO_PROCESS, 0)


def test_missing_files_mean_unknown_values(tmp_path):
    found = process.read(tmp_path)

    assert found.malloc is found.transparent_huge_pages is found.numa_nodes is None
    assert found.swap_bytes is None
