"""Accelerators are found from a machine's files, also inside a container."""

import pytest

from mlpf_jax.measure import accelerators


def card(root, vendor, kind, device="0x0001"):
    folder = root / "sys/bus/pci/devices" / f"0000:{len(list(root.glob('sys/bus/pci/devices/*')))}"
    folder.mkdir(parents=True)
    for name, value in (("vendor", vendor), ("class", kind), ("device", device)):
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dev/nvidia0", "NVIDIA GPU"),
        ("dev/dxg", "NVIDIA GPU"),
        ("proc/driver/nvidia/gpus/0000:41:00.0", "NVIDIA GPU"),
        ("dev/kfd", "AMD GPU"),
        ("dev/accel0", "TPU"),
    ],
)
def test_a_device_file_tells_of_an_accelerator(tmp_path, path, name):
    (tmp_path / path).mkdir(parents=True)

    assert accelerators.present(tmp_path) == (name,)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (("0x10de", "0x030200"), ("NVIDIA GPU",)),
        (("0x10de", "0x040300"), ()),  # its sound
        (("0x1002", "0x120000"), ("AMD GPU",)),
        (("0x1002", "0x030000"), ()),  # a screen's
        (("0x1ae0", "0x120000", "0x0063"), ("TPU",)),
        (("0x1ae0", "0x020000", "0x0042"), ()),  # Google's network card
    ],
)
def test_the_bus_tells_of_an_accelerator_that_a_container_does_not_see(tmp_path, ids, names):
    card(tmp_path, "0x8086", "0x060000")
    card(tmp_path, *ids)

    assert accelerators.present(tmp_path) == names


def test_a_machine_without_any_has_none(tmp_path):
    (tmp_path / "dev" / "accel").mkdir(parents=True)  # other makers' are in this folder
    (tmp_path / "dev" / "nvidiactl").touch()

    assert accelerators.present(tmp_path) == ()
