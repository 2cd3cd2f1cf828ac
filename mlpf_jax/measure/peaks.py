"""Peak rates of devices, from their makers' data sheets: dense matrix products, no sparsity.

Devices are looked up by their exact name (`jax.Device.device_kind`, as the driver spells it),
because a common prefix means nothing: an L4 is not an L40. For devices that are not in the table,
the lookup returns the reason.
"""

import dataclasses
import re
from collections.abc import Iterable

_NVIDIA = "https://www.nvidia.com/en-us/data-center/"
_AWS = "https://d1.awsstatic.com/product-marketing/ec2/"
_AMD = "https://www.amd.com/en/products/accelerators/instinct/"
_TPU = "https://cloud.google.com/tpu/docs/"


@dataclasses.dataclass(frozen=True)
class Peak:
    """Peak TFLOP/s of one JAX device by precision; None: no such units, or not published."""

    float32: float | None
    tf32: float | None
    bf16: float | None
    source: str


@dataclasses.dataclass(frozen=True)
class Unknown:
    """Why no peak is known."""

    reason: str


def _alike(kinds: Iterable[str], peak: Peak) -> dict[str, Peak]:
    return dict.fromkeys(kinds, peak)


_A100 = (
    "NVIDIA A100-SXM4-40GB",
    "NVIDIA A100-SXM4-80GB",
    "NVIDIA A100-PCIE-40GB",
    "NVIDIA A100-PCIE-80GB",
    "NVIDIA A100 80GB PCIe",
)
_GH200 = ("NVIDIA GH200 120GB", "NVIDIA GH200 480GB", "NVIDIA GH200 144G HBM3e")
_V100_SXM = ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB", "Tesla V100-SXM3-32GB")
_V100_PCIE = ("Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB")

_PEAKS: dict[str, Peak] = {
    **_alike(_V100_SXM, Peak(15.7, None, None, _NVIDIA + "v100/")),
    **_alike(_V100_PCIE, Peak(14.0, None, None, _NVIDIA + "v100/")),
    "Tesla V100S-PCIE-32GB": Peak(16.4, None, None, _NVIDIA + "v100/"),
    "Tesla T4": Peak(8.1, None, None, _NVIDIA + "tesla-t4/"),
    **_alike(_A100, Peak(19.5, 156.0, 312.0, _NVIDIA + "a100/")),
    "NVIDIA A2": Peak(4.5, 9.0, 18.0, _NVIDIA + "products/a2/"),
    "NVIDIA A10": Peak(31.2, 62.5, 125.0, _NVIDIA + "products/a10-gpu/"),
    "NVIDIA A10G": Peak(35.0, 35.0, 70.0, _AWS + "NVIDIA_AWS_A10G_DataSheet_FINAL_02_17_2022.pdf"),
    "NVIDIA A30": Peak(10.3, 82.0, 165.0, _NVIDIA + "products/a30-gpu/"),
    "NVIDIA A40": Peak(37.4, 74.8, 149.7, _NVIDIA + "a40/"),
    "NVIDIA L4": Peak(30.3, 60.0, 121.0, _NVIDIA + "l4/"),
    "NVIDIA L40": Peak(90.5, 90.5, 181.0, _NVIDIA + "l40/"),
    "NVIDIA L40S": Peak(91.6, 183.0, 362.0, _NVIDIA + "l40s/"),
    "NVIDIA H100 80GB HBM3": Peak(67.0, 495.0, 989.0, _NVIDIA + "h100/"),
    "NVIDIA H100 PCIe": Peak(51.0, 378.0, 756.0, _NVIDIA + "h100/"),
    "NVIDIA H100 NVL": Peak(60.0, 418.0, 835.0, _NVIDIA + "h100/"),
    "NVIDIA H200": Peak(67.0, 495.0, 989.0, _NVIDIA + "h200/"),
    "NVIDIA H200 NVL": Peak(60.0, 418.0, 835.0, _NVIDIA + "h200/"),
    **_alike(_GH200, Peak(67.0, 495.0, 989.0, _NVIDIA + "grace-hopper-superchip/")),
    "NVIDIA B200": Peak(75.0, 1100.0, 2250.0, _NVIDIA + "hgx/"),
    "NVIDIA GB200": Peak(80.0, 1250.0, 2500.0, _NVIDIA + "gb200-nvl72/"),
    # One of the two dies of a card: JAX sees each as a device.
    "AMD Instinct MI250X": Peak(47.9, None, 191.5, _AMD + "mi200/mi250x.html"),
    "AMD Instinct MI300A": Peak(122.6, 490.3, 980.6, _AMD + "mi300/mi300a.html"),
    "AMD Instinct MI300X": Peak(163.4, 653.7, 1307.4, _AMD + "mi300/mi300x.html"),
    "TPU v4": Peak(None, None, 275.0, _TPU + "v4"),
    **_alike(("TPU v5 lite", "TPU v5e"), Peak(None, None, 197.0, _TPU + "v5e")),
    **_alike(("TPU v5", "TPU v5p"), Peak(None, None, 459.0, _TPU + "v5p")),
    **_alike(("TPU v6 lite", "TPU v6e"), Peak(None, None, 918.0, _TPU + "v6e")),
    "TPU7x": Peak(
        None, None, 1153.5, _TPU + "tpu7x"
    ),  # half a chip: JAX sees each core as a device
}
_UNPUBLISHED = ("NVIDIA H20", "NVIDIA H800", "NVIDIA H800 PCIe", "NVIDIA A800-SXM4-80GB")
_MIG = re.compile(r".* MIG \d+(c\.\d+)?g\.\d+gb.*", re.IGNORECASE)


def find(device_kind: str) -> Peak | Unknown:
    """Returns the peak rates of a kind of device, or the reason why they are unknown."""
    if device_kind in _PEAKS:
        return _PEAKS[device_kind]
    if _MIG.fullmatch(device_kind):
        return Unknown(
            f"{device_kind} is a slice of a GPU, and data sheets give no peak rates for slices"
        )
    if device_kind in _UNPUBLISHED:
        return Unknown(f"the maker of {device_kind} publishes no data sheet")
    return Unknown(f"{device_kind} is not in the table of peak rates")
