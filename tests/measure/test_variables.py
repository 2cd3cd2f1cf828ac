"""The treatment of each environment variable: refused, pinned or recorded."""

import re

import jax
import pytest

from mlpf_jax.measure import jax_options, variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_DISABLE_JIT", "1"),
        ("JAX_DISABLE_JIT", "True"),
        ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
        ("JAX_NO_EXECUTION", "yes"),
        ("JAX_DEBUG_NANS", "on"),
        ("JAX_DEBUG_INFS", "t"),
        ("JAX_ERROR_CHECKING_BEHAVIOR_NAN", "raise"),
        ("JAX_ENABLE_PGLE", "true"),
        ("JAX_MOCK_GPU_TOPOLOGY", "2x8x1"),
        ("MOCK_NUM_GPU_PROCESSES", "8"),
        ("NVIDIA_TF32_OVERRIDE", "1"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("CUBLAS_EMULATE_SINGLE_PRECISION", "1"),
    ],
)
def test_a_variable_that_makes_a_run_meaningless_is_refused_by_name(name, value):
    line = variables.refusal({"PATH": "/bin", name: value})

    assert line.startswith(f"{name}={value}: ")
    assert "nset it" in line
    assert "\n" not in line


@pytest.mark.parametrize("value", ["", "0", "false", "False", "off", "no", "n", "F"])
def test_a_variable_that_is_switched_off_is_not_refused(value):
    assert variables.refusal({"JAX_DISABLE_JIT": value, "JAX_DEBUG_NANS": value}) is None


def test_an_option_set_to_its_default_is_not_refused():
    environ = {"JAX_ERROR_CHECKING_BEHAVIOR_OOB": "ignore", "MOCK_NUM_GPU_PROCESSES": "0"}
    environ["CUBLAS_EMULATE_SINGLE_PRECISION"] = "0"

    assert variables.refusal(environ) is None


def test_variables_that_would_change_the_work_are_removed_and_named():
    environ = {
        "JAX_ENABLE_X64": "1",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_NUM_CPU_DEVICES": "3",
        "JAX_LOG_COMPILES": "1",
        "EAGER_CONSTANT_FOLDING": "1",
        "HOME": "x",
    }

    taken = variables.pin(environ)

    assert environ == {"JAX_LOG_COMPILES": "1", "HOME": "x"}
    assert taken == (
        "EAGER_CONSTANT_FOLDING",
        "JAX_ENABLE_X64",
        "JAX_NUM_CPU_DEVICES",
        "JAX_THREEFRY_PARTITIONABLE",
    )


def test_variables_that_can_change_the_speed_are_recorded_in_sorted_order():
    environ = {
        "OMP_NUM_THREADS": "1",
        "JAX_OPTIMIZATION_LEVEL": "O0",
        "NCCL_ALGO": "Ring",
        "MALLOC_ARENA_MAX": "2",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "NPROC": "1",
        "JAX_AN_OPTION_OF_TOMORROW": "1",
        "JAX_DEBUG_KEY_REUSE": "1",
        "PATH": "/bin",
        "SSH_AUTH_SOCK": "x",
    }

    found = variables.recorded(environ)

    assert list(found.items()) == sorted(
        (name, value) for name, value in environ.items() if name not in ("PATH", "SSH_AUTH_SOCK")
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_LIBRARY_PATH", "lib"),
        ("NCCL_SOCKET_IFNAME", "eth0/secret"),
        ("XLA_TOKEN", "abc"),
        ("NVIDIA_API_KEY", "nvapi-abc"),
        ("TPU_ACCESS_KEY_ID", "AKIA12"),
        ("AMD_PASSWORD", "abc"),
        ("GPU_CLOUD_USERNAME", "someone"),
        ("NCCL_HOSTID", "node7"),
        ("NCCL_COMM_ID", "10.0.0.1:5000"),
        ("JAX_DUMP_IR_TO", "dump"),
        ("TF_XLA_FLAGS", '{"cluster": "host"}'),
        ("OMP_NUM_THREADS", "1\nmalicious"),
    ],
)
def test_a_value_that_could_identify_a_site_is_not_recorded(name, value):
    assert variables.recorded({name: value}) == {name: "(set)"}


def test_only_the_file_name_of_a_preloaded_library_is_recorded():
    found = variables.recorded({"LD_PRELOAD": "/srv/a/libjemalloc.so.2:/home/someone/libx.so"})

    assert found == {"LD_PRELOAD": "libjemalloc.so.2 libx.so"}


@pytest.mark.parametrize(
    "name",
    [
        "TF_CLI_CONFIG_FILE",
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "JAX_COORDINATOR_ADDRESS",
        "TPU_NAME",
    ],
)
def test_variables_set_by_launchers_make_no_difference_between_runs(name):
    assert variables.recorded({name: "1"}) == {}


def test_a_variable_that_slows_a_run_is_a_reason_to_distrust():
    found = {"CUDA_LAUNCH_BLOCKING": "1", "NPROC": "1", "JAX_ENABLE_CHECKS": "0", "TF_XLA_X": "1"}

    assert variables.doubts(found) == [
        "CUDA_LAUNCH_BLOCKING=1: the host waits for each kernel",
        "NPROC=1: it sets the number of threads of the CPU back end",
    ]


# Of 0.11 and 0.12; the tests run on 0.10.2.
NEWER_OPTIONS = {
    "jax_accurate_erf_inv",
    "jax_custom_jvp3",
    "jax_distributed_verify_secure_credentials",
    "jax_export_deserialize_expired_versions",
    "jax_mosaic_unzip_debug_locations",
    "jax_mtls_ca_file",
    "jax_mtls_peer_uri_prefix",
    "jax_pallas_auto_assign_collective_ids",
    "jax_pallas_auto_assign_collective_ids_limit",
    "jax_raise_on_ppermute_sort_diff",
    "jax_remat_barrier_no_cotangents",
    "jax_use_cpp_shard_args",
    "jax_use_hlo_logistic_lowering",
    "jax_use_rgv3",
}


@pytest.mark.parametrize("option", sorted(NEWER_OPTIONS.union(jax.config.values)))
def test_every_option_of_the_installed_jax_is_classified(option):
    """A new JAX may bring an option that changes the work: decide, and add it to `jax_options`."""
    is_known = any(re.fullmatch(pattern, option) for pattern in jax_options.RECORDED)

    assert variables.is_pinned(option) != is_known
