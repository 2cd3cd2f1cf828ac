"""Peak rates of devices, from their makers' data sheets: dense matrix products, no sparsity."""

import dataclasses

_NVIDIA = "https://www.nvidia.com/en-us/data-center/"
_AMD = "https://www.amd.com/en/products/accelerators/instinct/"
_TPU = "https://cloud.google.com/tpu/docs/"


@dataclasses.dataclass(frozen=True)
class Peak:
    """TFLOP/s by precision; None where the device has no such units."""

    float32: float | None
    tf32: float | None
    bf16: float | None
    source: str


# By the start of jax.Device.device_kind; the longest match wins.
_PEAKS: dict[str, Peak] = {
    "Tesla V100": Peak(15.7, None, None, _NVIDIA + "v100/"),
    "Tesla T4": Peak(8.1, None, None, _NVIDIA + "tesla-t4/"),
    "NVIDIA A100": Peak(19.5, 156.0, 312.0, _NVIDIA + "a100/"),
    "NVIDIA A10": Peak(31.2, 62.5, 125.0, _NVIDIA + "products/a10-gpu/"),
    "NVIDIA L4": Peak(30.3, 60.0, 121.0, _NVIDIA + "l4/"),
    "NVIDIA L40S": Peak(91.6, 183.0, 362.0, _NVIDIA + "l40s/"),
    "NVIDIA H100": Peak(67.0, 495.0, 989.0, _NVIDIA + "h100/"),
    "NVIDIA H100 PCIe": Peak(51.0, 378.0, 756.0, _NVIDIA + "h100/"),
    "NVIDIA H100 NVL": Peak(60.0, 418.0, 835.0, _NVIDIA + "h100/"),
    "NVIDIA H200": Peak(67.0, 495.0, 989.0, _NVIDIA + "h200/"),
    "NVIDIA GH200": Peak(67.0, 495.0, 989.0, _NVIDIA + "grace-hopper-superchip/"),
    "NVIDIA B200": Peak(75.0, 1100.0, 2250.0, _NVIDIA + "hgx/"),
    "AMD Instinct MI250X": Peak(47.9, None, 383.0, _AMD + "mi200/mi250x.html"),
    "AMD Instinct MI300X": Peak(163.4, 653.7, 1307.4, _AMD + "mi300/mi300x.html"),
    "TPU v4": Peak(None, None, 275.0, _TPU + "v4"),
    "TPU v5 lite": Peak(None, None, 197.0, _TPU + "v5e"),
    "TPU v5": Peak(None, None, 459.0, _TPU + "v5p"),
    "TPU v6 lite": Peak(None, None, 918.0, _TPU + "v6e"),
}


def find(device_kind: str) -> Peak | None:
    """Returns the peak rates of a kind of device, or None if the table does not have it."""
    matches = [name for name in _PEAKS if device_kind.startswith(name)]
    return _PEAKS[max(matches, key=len)] if matches else None
