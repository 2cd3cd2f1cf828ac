"""Copies share cores and devices evenly, and what cannot be shared is refused."""

import pytest

from mlpf_jax.workload import cores, plan

CORES = [cores.Core(0, 0, number, number) for number in range(8)]


def on_cpu(quota=8, free_bytes=None, **wish):
    return [s.cores for s in plan.on_cpu(plan.Wish(**wish), CORES, quota, free_bytes)]


def on_gpus(visible=("0", "1", "2", "3"), **wish):
    return plan.on_accelerators(plan.Wish(**wish), "NVIDIA GPU", list(visible), CORES)


@pytest.mark.parametrize(
    ("wish", "sizes"),
    [
        ({}, [1] * 8),
        ({"threads": 3}, [3, 3]),
        ({"copies": 3}, [2, 2, 2]),
        ({"copies": 2, "threads": 1}, [1, 1]),
        ({"ncores": 5}, [1] * 5),
        ({"quota": 3}, [1] * 3),
        ({"free_bytes": 2 * plan.COPY_BYTES + 1}, [4, 4]),
        ({"free_bytes": 2 * plan.COPY_BYTES + 1, "threads": 1}, [1, 1]),
        ({"free_bytes": 3 * plan.COPY_BYTES}, [4, 4]),
        ({"free_bytes": 3 * plan.COPY_BYTES, "ncores": 7}, [2, 2, 2]),
        ({"free_bytes": 5 * plan.COPY_BYTES}, [2, 2, 2, 2]),
        ({"free_bytes": 0}, [8]),
        ({"free_bytes": 2**60}, [1] * 8),
        ({"free_bytes": 0, "copies": 8}, [1] * 8),
    ],
)
def test_on_a_cpu_copies_and_threads_fill_the_cores(wish, sizes):
    shares = on_cpu(**wish)

    assert [len(numbers) for numbers in shares] == sizes
    assert len({number for numbers in shares for number in numbers}) == sum(sizes)


@pytest.mark.parametrize(
    ("wish", "culprit"),
    [
        ({"copies": 9}, "--copies=9"),
        ({"copies": 3, "threads": 3}, "--threads=3"),
        ({"threads": 9}, "--threads=9"),
        ({"ncores": 9}, "--ncores=9"),
        ({"devices": "0"}, "--devices"),
    ],
)
def test_more_than_the_machine_has_is_refused(wish, culprit):
    with pytest.raises(ValueError, match=culprit):
        on_cpu(**wish)


def test_one_copy_on_all_accelerators_is_not_bound():
    assert on_gpus() == [plan.Share(None)]


def test_copies_on_accelerators_get_devices_and_cores_of_their_own():
    shares = on_gpus(copies=2, devices="1-3_0")

    assert [share.environ["CUDA_VISIBLE_DEVICES"] for share in shares] == ["1,2", "3,0"]
    assert [share.cores for share in shares] == [(0, 1, 2, 3), (4, 5, 6, 7)]


@pytest.mark.parametrize(
    ("listed", "visible", "found"),
    [
        ("0_2", ["4", "5", "6"], ["4", "6"]),
        ("0-1", [], ["0", "1"]),
        ("GPU-8f2_MIG-1a", ["0"], ["GPU-8f2", "MIG-1a"]),
        ("2,0", ["4", "5", "6"], ["6", "4"]),
    ],
)
def test_devices_are_counted_among_the_visible_ones(listed, visible, found):
    assert plan.selected(listed, visible) == found


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, ["1"]),
    ],
)
def test_the_visible_devices_are_those_that_the_driver_would_show(environ, found):
    assert plan.visible_devices("NVIDIA GPU", environ, 2) == found


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_variable_that_hides_all_devices_is_named(value):
    with pytest.raises(
        ValueError, match=f"^CUDA_VISIBLE_DEVICES={value} hides all .*--platform=cpu"
    ):
        plan.visible_devices("NVIDIA GPU", {"CUDA_VISIBLE_DEVICES": value}, 2)


@pytest.mark.parametrize("listed", ["", "0_", "0_0", "3-1", "0_1-0", "0-9999", "0_GPU-8f2"])
def test_a_list_of_devices_that_are_not_there_is_refused(listed):
    with pytest.raises(ValueError, match="--devices="):
        plan.selected(listed, ["0", "1"])


def test_devices_that_copies_cannot_share_evenly_are_refused():
    with pytest.raises(ValueError, match="4 devices cannot be shared evenly"):
        on_gpus(copies=3)


@pytest.mark.parametrize(
    ("asked", "present", "plugins", "platform"),
    [
        ("auto", [], [], "cpu"),
        ("auto", ["NVIDIA GPU"], ["jax-cuda12-plugin"], "gpu"),
        ("auto", ["TPU"], ["libtpu"], "tpu"),
        ("cpu", ["NVIDIA GPU"], ["jax-cuda12-plugin"], "cpu"),
        ("gpu", [], [], "gpu"),
    ],
)
def test_the_platform_is_that_of_the_installation(asked, present, plugins, platform):
    assert plan.platform(asked, present, plugins) == (platform, None)


def test_an_accelerator_that_the_installation_cannot_use_is_told():
    assert "NVIDIA GPU not used" in str(plan.platform("auto", ["NVIDIA GPU"], [])[1])


def test_an_installation_for_accelerators_never_falls_back_to_the_cpu_in_silence():
    with pytest.raises(ValueError, match="--platform=cpu"):
        plan.platform("auto", [], ["jax-cuda12-plugin"])
