"""The devices of a run, and messages about unused ones."""

import dataclasses

import jax
import pytest

from mlpf_jax.run import devices
from tests import tiny


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    platform: str
    device_kind: str = "H100"
    compute_capability: str = ""


def test_too_few_devices_are_refused_with_the_ways_out():
    run = dataclasses.replace(tiny.run_config(), num_devices=8)
    with pytest.raises(ValueError, match="--num_devices=8: only 2 of platform gpu") as refusal:
        devices.Found((FakeDevice("gpu"),) * 2).pick(run)

    for way_out in ("--num_devices=all", "at most 2", "--platform=cpu"):
        assert way_out in str(refusal.value)


def test_where_jax_has_no_pmap_a_line_says_what_takes_its_place(monkeypatch):
    run, found = tiny.run_config(), devices.Found((FakeDevice("gpu"),))
    assert found.with_parallel(run) == (run, None)

    monkeypatch.delattr(jax, "pmap")
    monkeypatch.setattr(jax, "__version__", "0.99.0")
    changed, line = found.with_parallel(run)

    assert changed == dataclasses.replace(run, parallel="shard_map")
    assert line == "JAX 0.99.0 has no pmap: shard_map takes its place"


@pytest.mark.parametrize(
    ("platform", "capability", "expected"),
    [("gpu", "8.0", True), ("gpu", "7.5", False), ("gpu", "gfx942", False), ("cpu", "", False)],
)
def test_tf32_takes_an_nvidia_gpu_of_2020_or_later(platform, capability, expected):
    run = tiny.run_config()
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, precision="tf32"))
    found = devices.Found((FakeDevice(platform, compute_capability=capability),))
    if expected:
        assert found.pick(run) == found.devices
    else:
        with pytest.raises(ValueError, match="--precision=tf32: H100 has no TF32"):
            found.pick(run)


@pytest.mark.parametrize(
    ("present", "plugins", "warnings", "environ", "reason"),
    [
        ([], [], [], {"JAX_PLATFORMS": "cpu"}, None),
        (["NVIDIA GPU"], [], [], {"JAX_PLATFORMS": "cpu"}, "NVIDIA GPU not used: JAX_PLATFORMS="),
        (["NVIDIA GPU"], [], [], {}, "NVIDIA GPU not used: this environment's JAX is for CPUs"),
        (["TPU"], ["libtpu"], ["it is busy"], {}, "TPU not used: it is busy"),
        (
            ["NVIDIA GPU"],
            ["jax-cuda12-plugin"],
            ["CUDA_ERROR_NO_DEVICE"],
            {"CUDA_VISIBLE_DEVICES": "7"},
            "NVIDIA GPU not used: CUDA_ERROR_NO_DEVICE (CUDA_VISIBLE_DEVICES=7)",
        ),
        (
            ["NVIDIA GPU", "AMD GPU"],
            ["jax-cuda12-plugin"],
            [],
            {"CUDA_VISIBLE_DEVICES": ""},
            "NVIDIA GPU and AMD GPU not used: jax-cuda12-plugin, CUDA_VISIBLE_DEVICES=: no dev",
        ),
        ([], ["jax-cuda12-plugin"], [], {}, "no accelerator used: jax-cuda12-plugin: no device"),
        ([], [], ["a plug-in fails"], {}, "no accelerator used: a plug-in fails"),
    ],
)
def test_an_accelerator_that_is_not_used_is_explained(present, plugins, warnings, environ, reason):
    said = devices.explain(present, plugins, warnings, environ)

    assert said == reason if reason is None else said.startswith(reason)


def found_by(monkeypatch, demanded, local_devices):
    def fake(backend=None):
        if backend not in (None, "cpu"):
            raise RuntimeError(f"Unknown backend: '{backend}' requested")
        return local_devices()

    monkeypatch.setattr(devices.jax, "local_devices", fake)
    monkeypatch.setattr(devices.accelerators, "present", lambda: ("NVIDIA GPU",))
    monkeypatch.setattr(devices.jax.config, "update", lambda *_: None)
    return devices.find(demanded)


@pytest.fixture
def platforms(monkeypatch):
    """Lets JAX find a device of a platform, where the user's variable names some."""
    before = jax.config.jax_platforms

    def find(given, platform):
        jax.config.update("jax_platforms", given)
        monkeypatch.setenv("JAX_PLATFORMS", given or "")
        monkeypatch.setattr(devices.jax, "local_devices", lambda: [FakeDevice(platform)])
        devices.find("auto")
        return jax.config.jax_platforms

    yield find
    jax.config.update("jax_platforms", before)


@pytest.mark.parametrize(
    ("given", "used"),
    [("cuda", "cuda,cpu"), ("tpu,cpu", "tpu,cpu"), ("cpu", "cpu"), ("", ""), (None, None)],
)
def test_there_is_a_cpu_beside_the_platforms_of_the_user(platforms, given, used):
    """It counts the operations of the graph, which the client of a plug-in does not."""
    assert platforms(given, "gpu") == used


def test_a_cpu_that_the_user_left_out_is_not_run_on(platforms):
    with pytest.raises(ValueError, match="JAX_PLATFORMS=cuda: JAX can use no such device here"):
        platforms("cuda", "cpu")


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_a_plug_in_that_fails_to_load_is_one_line_and_no_traceback(monkeypatch, capsys, platform):
    def local_devices():
        cause = RuntimeError("no\nlibcuda.so.1")
        jax._src.xla_bridge.logger.error("plug-in %s", "cuda", exc_info=cause)
        return [FakeDevice(platform)]

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    found = found_by(monkeypatch, "auto", local_devices)

    said = "plug-in cuda: no libcuda.so.1"
    if platform == "cpu":
        assert (found.fallback, found.warnings) == (f"NVIDIA GPU not used: {said}", ())
    else:
        assert (found.fallback, found.warnings) == (None, (said,))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("installed", [(), ("jax-cuda12-plugin",)])
def test_no_plug_in_is_said_to_be_missing_that_is_there(monkeypatch, installed):
    guess = "An NVIDIA GPU may be present, but a CUDA-enabled jaxlib is not installed."

    def local_devices():
        for line in ("cuInit(0) failed", guess, "another"):
            jax._src.xla_bridge.logger.warning(line)
        return [FakeDevice("cpu")]

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(devices.accelerators, "plugins", lambda: installed)
    found = found_by(monkeypatch, "auto", local_devices)

    assert found.warnings == (("another",) if installed else (guess, "another"))


@pytest.mark.parametrize(
    ("demanded", "reason"),
    [("gpu", "plug-in xla_cuda12: no libcuda"), ("tpu", "Unknown backend: 'tpu' requested")],
)
def test_a_platform_that_is_demanded_and_not_to_be_had_is_refused(monkeypatch, demanded, reason):
    """With what JAX said of it, and not of another one."""

    def local_devices():
        jax._src.xla_bridge.logger.warning("plug-in xla_cuda12: no libcuda")
        return [FakeDevice("cpu")]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ValueError, match=f"^--platform={demanded}: {reason}. Leave .* install"):
        found_by(monkeypatch, demanded, local_devices)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(ValueError, match=r"or unset CUDA_VISIBLE_DEVICES=7, which may hide it.$"):
        found_by(monkeypatch, demanded, local_devices)


def test_a_cpu_that_is_demanded_is_no_fallback(monkeypatch):
    assert found_by(monkeypatch, "cpu", lambda: [FakeDevice("cpu")]).fallback is None


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("cuda is not here\nmore")])
def test_no_device_at_all_is_one_line(monkeypatch, error):
    def local_devices():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(
        ValueError, match="JAX_PLATFORMS=cuda: JAX can use no such device here"
    ) as refusal:
        found_by(monkeypatch, "auto", local_devices)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("visible", "library", "words"),
    [
        (None, "none.so", "devices, because none.so of the driver cannot be loaded"),
        ("7", "none.so", "devices; CUDA_VISIBLE_DEVICES=7 may hide them"),
        (None, None, "devices. .uninstall the plug-in"),
    ],
)
def test_why_xla_sees_no_gpu_is_found_out(monkeypatch, visible, library, words):
    def local_devices():
        raise RuntimeError("backend 'cuda': No visible GPU devices. (uninstall the plug-in)")

    for name in ("JAX_PLATFORMS", *devices.starting.HIDING):
        monkeypatch.delenv(name, raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(devices, "_NVML", library)  # None: what is loaded already
    with pytest.raises(ValueError, match=f"^JAX finds no device: .*No visible GPU {words}"):
        found_by(monkeypatch, "auto", local_devices)
