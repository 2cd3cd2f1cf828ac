"""Errors with a way out are known by their words: a lack of memory is no full disk."""

import numpy as np
import pytest

from mlpf_jax import errors

_TRACE = "RESOURCE_EXHAUSTED: /traces/host.xplane.pb; No space left on device"


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (MemoryError("std::bad_alloc"), True),
        (SystemError("error return without exception set"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm."), True),
        (RuntimeError(_TRACE), False),
        (RuntimeError("RESOURCE_EXHAUSTED: x; Too many open files"), False),
        (RuntimeError("RESOURCE_EXHAUSTED: x; Disk quota exceeded"), False),
        (RuntimeError("INTERNAL: it broke"), False),
    ],
)
def test_a_lack_of_memory_is_no_full_disk(error, is_memory):
    assert errors.is_out_of_memory(error) == is_memory


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("INTERNAL: Failed to get configs for: 2 out of 171 instructions. See logs", True),
        ("INTERNAL: No supported config found for HLO: %gemm_fusion_dot.50 = f32[9]", True),
        ("INTERNAL: ptxas exited with non-zero error code 65280", False),
    ],
)
def test_a_product_without_a_kernel_is_known_by_xlas_words(text, lacks):
    assert errors.lacks_kernel(text) == lacks


def test_an_array_that_is_too_large_is_a_lack_of_memory():
    with pytest.raises(MemoryError) as caught:
        np.zeros((2**45, 2**10), np.float32)

    assert errors.is_out_of_memory(caught.value)
    assert errors.one_line(caught.value).startswith("Unable to allocate ")
