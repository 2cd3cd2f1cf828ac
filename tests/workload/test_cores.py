"""Copies get neighbouring cores, of one memory node where possible."""

import pytest

from mlpf_jax.workload import cores


def machine(folder, *places):
    """Makes a /sys with a core for each (node, package, core)."""
    for number, (node, package, core) in enumerate(places):
        cpu = folder / f"sys/devices/system/cpu/cpu{number}"
        (cpu / f"node{node}").mkdir(parents=True)
        (cpu / "topology").mkdir()
        (cpu / "topology/physical_package_id").write_text(f"{package}\n")
        (cpu / "topology/core_id").write_text(f"{core}\n")
    return cores.locate(range(len(places)), folder)


# Two nodes of three cores of two threads, numbered as Linux does on Intel: siblings far apart.
TWO_SOCKETS = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 0), (1, 1, 1), (1, 1, 2)] * 2


@pytest.mark.parametrize(
    ("threads", "groups"),
    [
        (2, [(0, 6), (1, 7), (2, 8), (3, 9), (4, 10), (5, 11)]),
        (4, [(0, 6, 1, 7), (3, 9, 4, 10), (2, 8, 5, 11)]),
        (12, [(0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11)]),
        (13, []),
    ],
)
def test_a_copy_gets_whole_cores_of_one_node_as_long_as_there_are_some(tmp_path, threads, groups):
    assert cores.share(machine(tmp_path, *TWO_SOCKETS), threads) == groups


def test_cores_of_unknown_place_keep_their_order(tmp_path):
    assert cores.share(cores.locate([3, 1, 2], tmp_path), 1) == [(1,), (2,), (3,)]
