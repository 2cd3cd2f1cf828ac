"""RAPL's counters, read from a made-up /sys."""

import itertools
import pathlib

import pytest

from mlpf_jax.telemetry import rapl, source
from tests.telemetry import made_up

RANGE_UJ = 262_143_328_850


def add_zone(root, zone, name, energy_uj, **files):
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RANGE_UJ} | files
    for file, text in texts.items():
        (folder / file).write_text(f"{text}\n")
    return folder / "energy_uj"


@pytest.fixture
def sockets(tmp_path):
    """Two packages with all that must not be counted: sub-zones, the platform, their double."""
    limit = {"constraint_0_name": "long_term", "constraint_0_power_limit_uw": 205_000_000}
    (tmp_path / "sys/class/powercap/intel-rapl").mkdir(parents=True)
    add_zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000, **limit)
    add_zone(tmp_path, "intel-rapl:0:0", "core", 900_000)
    add_zone(tmp_path, "intel-rapl:0:1", "dram", 900_000)
    add_zone(tmp_path, "intel-rapl:1", "package-1", RANGE_UJ - 1_000_000, **limit)
    add_zone(tmp_path, "intel-rapl:1:0", "core", 900_000)
    add_zone(tmp_path, "intel-rapl:2", "psys", 900_000)
    add_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 900_000)
    return tmp_path


def advance(root, zone, used_uj):
    file = root / "sys/class/powercap" / zone / "energy_uj"
    file.write_text(f"{(int(file.read_text()) + used_uj) % RANGE_UJ}\n")


def test_both_packages_are_counted_once_and_nothing_else(sockets):
    packages = rapl.Packages(sockets)
    for zone in ("intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:2", "intel-rapl-mmio:0"):
        advance(sockets, zone, 7_000_000)
    advance(sockets, "intel-rapl:0", 2_000_000)
    advance(sockets, "intel-rapl:1", 500_000)

    assert packages.energy.read_j() == pytest.approx(2.5)
    assert packages.energy.scope == "2 CPU packages"
    assert packages.describe() == {
        "zones": ["intel-rapl:0 (package-0)", "intel-rapl:1 (package-1)"],
        "power_limit_w": [205.0, 205.0],
    }


def test_a_counter_that_wraps_again_and_again_is_followed(sockets):
    hours = itertools.count(0.0, 3600.0)
    packages = rapl.Packages(sockets, clock=lambda: next(hours))

    used = []
    for _ in range(2):
        advance(sockets, "intel-rapl:1", RANGE_UJ - 1_000_000)
        used.append(packages.energy.read_j())
        advance(sockets, "intel-rapl:1", 3_000_000)
        used.append(packages.energy.read_j())

    whole = RANGE_UJ / 1e6
    assert used == pytest.approx([whole - 1, whole + 2, 2 * whole + 1, 2 * whole + 4])


def test_power_is_the_mean_since_the_last_call(sockets):
    clock = made_up.Clock()
    packages = rapl.Packages(sockets, clock=clock)
    clock.now += 2
    advance(sockets, "intel-rapl:0", 50_000_000)

    assert packages.sample() == {"power_w": pytest.approx(25.0)}
    assert packages.sample() == {"power_w": None}
    assert packages.settle_s > 0


def test_a_user_who_is_not_root_is_told_so(sockets, monkeypatch):
    read = pathlib.Path.read_text

    def refuse(path, *arguments, **keywords):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **keywords)

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    packages = rapl.Packages(sockets)

    assert packages.energy == source.Absent(
        "RAPL may only be read by root (energy_uj: permission denied)"
    )
    assert packages.settle_s == 0
    assert packages.sample() == {"power_w": None}


def test_a_machine_without_rapl_is_told_so(tmp_path):
    assert rapl.Packages(tmp_path).energy == source.Absent(
        "this machine shows no RAPL package in /sys/class/powercap"
    )


@pytest.mark.parametrize("content", ["", "many\n"])
def test_a_counter_that_breaks_is_unknown_with_a_reason(sockets, content):
    packages = rapl.Packages(sockets)
    (sockets / "sys/class/powercap/intel-rapl:0/energy_uj").write_text(content)

    assert packages.energy.read_j() is None
    assert "invalid literal" in packages.refused["energy"]


def test_a_wrap_of_unknown_range_is_no_negative_energy(sockets):
    (sockets / "sys/class/powercap/intel-rapl:0/max_energy_range_uj").write_text("\n")
    packages = rapl.Packages(sockets)
    (sockets / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("5\n")

    assert packages.energy.read_j() is None
    assert "its range is unknown" in packages.refused["energy"]


def test_a_counter_that_was_reset_is_unknown_from_then_on(sockets):
    """As after a sleep of the machine: taken for a wrap, it would be 261 kJ in a second."""
    clock = made_up.Clock()
    packages = rapl.Packages(sockets, clock=clock)
    clock.now += 1
    (sockets / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("0\n")

    assert packages.energy.read_j() is None
    clock.now += 3600
    advance(sockets, "intel-rapl:0", 5_000_000)
    assert packages.energy.read_j() is None
    assert packages.refused["energy"] == "intel-rapl:0 (package-0): the counter was reset"
