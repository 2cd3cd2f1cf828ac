"""Fake machines, made of files under /proc and /sys."""

import dataclasses
import re

import pytest

from mlpf_jax.measure import identity

FLAGS = "fpu sse sse4_1 sse4_2 fma avx f16c avx2 vaes vpclmulqdq"
AVX512 = "avx512f avx512dq avx512_vnni avx512_bf16"


def x86(vendor, family, model, stepping, name, flags):
    return (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: {name}\nstepping\t: {stepping}\nmicrocode\t: 0x1000065\n"
        f"cpu MHz\t\t: 2445.428\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n\n"
    )


ZEN_4 = x86("AuthenticAMD", 25, 17, 1, "AMD EPYC", f"{FLAGS} {AVX512} hypervisor")
ZEN_5 = x86("AuthenticAMD", 26, 2, 1, "AMD EPYC", f"{FLAGS} {AVX512} avx_vnni hypervisor")
XEON_NAME = "Intel(R) Xeon(R) Platinum 8480+"
XEON = x86("GenuineIntel", 6, 143, 8, XEON_NAME, f"{FLAGS} {AVX512} amx_tile amx_int8")
GRAVITON_3 = (
    "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd evtstrm asimddp sve i8mm bf16\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd40\n"
    "CPU revision\t: 1\n\n"
)


@pytest.fixture
def machine(tmp_path):
    """Returns a function that makes a machine's files and reads its identity."""

    def make(cpuinfo, num_cores=2, **files):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in {"proc/cpuinfo": cpuinfo, **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return identity.read(num_cores, root)

    return make


def firmware(vendor, product):
    return {
        "sys/class/dmi/id/sys_vendor": f"{vendor}\n",
        "sys/class/dmi/id/product_name": f"{product}\n",
    }


def caches(*sizes):
    kinds = [("1", "Data"), ("1", "Instruction"), ("2", "Unified"), ("3", "Unified")]
    return {
        f"sys/devices/system/cpu/cpu0/cache/index{i}/{name}": f"{text}\n"
        for i, ((level, kind), size) in enumerate(zip(kinds, sizes, strict=True))
        for name, text in (("level", level), ("type", kind), ("size", size))
    }


def test_all_fields_of_a_virtual_x86_machine_are_read(machine):
    found = machine(
        ZEN_4 * 2, **firmware("QEMU", "Standard PC"), **caches("32K", "32K", "1024K", "32768K")
    )

    assert found == identity.Identity(
        vendor="AuthenticAMD",
        family="25",
        model="17",
        stepping="1",
        name="AMD EPYC",
        caches=("L1 Data 32K", "L1 Instruction 32K", "L2 Unified 1024K", "L3 Unified 32768K"),
        vector_extensions=tuple(sorted(f"{FLAGS} {AVX512}".split()[2:])),
        hypervisor="QEMU",
        num_cores=2,
    )


def test_two_generations_under_one_name_are_two_machines(machine):
    zen_4, zen_5 = machine(ZEN_4), machine(ZEN_5)

    assert zen_4.name == zen_5.name
    assert zen_4.key != zen_5.key


def test_a_key_is_readable_and_a_file_name(machine):
    assert re.fullmatch(
        r"intel-xeon-platinum-8480-f6-m143-s8-1-core-[0-9a-f]{8}", machine(XEON, 1).key
    )


def test_a_key_stays_from_one_reading_to_the_next(machine):
    again = ZEN_4.replace("2445.428", "3100.000").replace("0x1000065", "0x1000066")

    assert machine(ZEN_4).key == machine(again).key


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(identity.Identity) if f.name != "model"]
)
def test_a_key_differs_where_any_field_does(machine, name):
    found = machine(ZEN_4, **caches("32K", "32K", "1024K", "32768K"))

    assert dataclasses.replace(found, **{name: None}).key != found.key


def test_an_arm_cpu_is_told_by_implementer_and_part(machine):
    found = machine(GRAVITON_3 * 2, **firmware("Amazon EC2", "c7g.large"))

    assert (found.vendor, found.model, found.stepping) == ("0x41", "0xd40", "0x1r1")
    assert found.vector_extensions == ("asimd", "asimddp", "bf16", "i8mm", "sve")
    assert found.hypervisor == "Amazon EC2"
    assert found.key.startswith("0x41-f8-m0xd40-s0x1r1-2-cores-")


def test_an_arm_machine_without_firmware_does_not_tell_its_hypervisor(machine):
    assert machine(GRAVITON_3).hypervisor is None


@pytest.mark.parametrize(
    ("cpuinfo", "files", "hypervisor"),
    [
        (XEON, {}, "none"),
        (XEON, firmware("Dell Inc.", "PowerEdge R760"), "none"),
        (XEON, firmware("Amazon EC2", "m7i.metal-24xl"), "none"),
        (ZEN_4, {}, "present"),
        (ZEN_4, firmware("Microsoft Corporation", "Virtual Machine"), "Virtual Machine"),
        (ZEN_4, firmware("Google", "Google Compute Engine"), "Google Compute Engine"),
        (ZEN_4, {"sys/hypervisor/type": "xen\n"}, "xen"),
    ],
)
def test_a_hypervisor_is_told_from_bare_metal(machine, cpuinfo, files, hypervisor):
    assert machine(cpuinfo, **files).hypervisor == hypervisor


def test_cores_of_several_kinds_are_all_told_and_share_the_extensions_of_each(machine):
    small = GRAVITON_3.replace("0xd40", "0xd46").replace(" sve", "")

    found = machine(GRAVITON_3 + small)

    assert found.model == "0xd40 + 0xd46"
    assert "sve" not in found.vector_extensions


@pytest.mark.parametrize("cpuinfo", ["", "vendor_id\t: \nmodel name\t: unknown\n"])
def test_an_unknown_cpu_has_no_key(machine, cpuinfo):
    found = machine(cpuinfo, num_cores=None)

    assert set(dataclasses.asdict(found).values()) == {None}
    assert found.key is None


def test_a_machine_without_proc_is_unknown(tmp_path):
    assert identity.read(4, tmp_path).key is None


def test_undecodable_bytes_are_not_an_error(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_bytes(b"vendor_id : \xff\xfe\nmodel : 1\n")

    assert identity.read(1, tmp_path).model == "1"
