"""Peak rates by device names as reported by drivers and JAX."""

import pytest

from mlpf_jax.measure import peaks


@pytest.mark.parametrize(
    ("kind", "float32", "tf32", "bf16"),
    [
        ("Tesla V100-SXM2-32GB", 15.7, None, None),
        ("Tesla V100-PCIE-16GB", 14.0, None, None),
        ("NVIDIA A100-SXM4-40GB", 19.5, 156.0, 312.0),
        ("NVIDIA A100 80GB PCIe", 19.5, 156.0, 312.0),
        ("NVIDIA A10", 31.2, 62.5, 125.0),
        ("NVIDIA A10G", 35.0, 35.0, 70.0),
        ("NVIDIA A40", 37.4, 74.8, 149.7),
        ("NVIDIA L4", 30.3, 60.0, 121.0),
        ("NVIDIA L40", 90.5, 90.5, 181.0),
        ("NVIDIA L40S", 91.6, 183.0, 362.0),
        ("NVIDIA H100 80GB HBM3", 67.0, 495.0, 989.0),
        ("NVIDIA H100 PCIe", 51.0, 378.0, 756.0),
        ("NVIDIA H100 NVL", 60.0, 418.0, 835.0),
        ("NVIDIA H200", 67.0, 495.0, 989.0),
        ("NVIDIA H200 NVL", 60.0, 418.0, 835.0),
        ("NVIDIA GH200 480GB", 67.0, 495.0, 989.0),
        ("NVIDIA B200", 75.0, 1100.0, 2250.0),
        ("NVIDIA GB200", 80.0, 1250.0, 2500.0),
        ("AMD Instinct MI250X", 47.9, None, 191.5),
        ("TPU v4", None, None, 275.0),
        ("TPU v5 lite", None, None, 197.0),
        ("TPU v5e", None, None, 197.0),
        ("TPU v5", None, None, 459.0),
        ("TPU v5p", None, None, 459.0),
        ("TPU v6 lite", None, None, 918.0),
        ("TPU v6e", None, None, 918.0),
        ("TPU7x", None, None, 1153.5),
    ],
)
def test_a_device_has_the_rates_of_its_own_data_sheet(kind, float32, tf32, bf16):
    peak = peaks.find(kind)

    assert (peak.float32, peak.tf32, peak.bf16) == (float32, tf32, bf16)
    assert peak.source.startswith("https://")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "a slice"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "a slice"),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", "a slice"),
        ("NVIDIA H200 MIG 1g.18gb+me", "a slice"),
        ("NVIDIA H20", "publishes no data sheet"),
        ("NVIDIA H800", "publishes no data sheet"),
        ("NVIDIA A100-SXM-64GB", "not in the table"),  # a special one, with more units
        ("NVIDIA L40G", "not in the table"),
        ("TPU v4 lite", "not in the table"),
        ("TPU v8", "not in the table"),
        ("cpu", "not in the table"),
        ("", "not in the table"),
    ],
)
def test_a_device_with_a_similar_name_is_unknown_with_a_reason(kind, reason):
    assert reason in peaks.find(kind).reason
