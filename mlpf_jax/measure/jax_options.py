"""JAX's own configuration: the options that would change the work, and which the run fixes.

Every option can be set by an environment variable of the same name in capitals. Module `variables`
defines the treatment of each. This module does not import JAX.
"""

from typing import Any

# Options that affect the numbers. They are set explicitly, so that a changed default of JAX has no
# effect.
FIXED: dict[str, Any] = {
    "jax_enable_x64": False,  # weights, state and events are float32
    "jax_threefry_partitionable": True,  # other random numbers otherwise
    "jax_default_prng_impl": "threefry2x32",
    "jax_random_seed_offset": 0,
    "jax_default_matmul_precision": None,  # every product sets its own
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_default_device": None,
}
# Not set, but protected from the environment, so JAX's default applies. They change random numbers,
# the traced program or the meaning of keys.
UNSET = frozenset(
    {
        "check_vma",
        "eager_constant_folding",
        "jax_accurate_erf_inv",
        "jax_allow_f16_reductions",
        "jax_auto_pcast",
        "jax_compiler_enable_remat_pass",
        "jax_custom_jvp3",
        "jax_custom_vjp3",
        "jax_disable_bwd_checks",
        "jax_embedded_constants_max_bytes",
        "jax_enable_custom_prng",
        "jax_explicit_x64_dtypes",
        "jax_high_dynamic_range_gumbel",
        "jax_legacy_prng_key",
        "jax_remat3",
        "jax_remat_barrier_no_cotangents",
        "jax_scan3",
        "jax_softmax_custom_jvp",
        "jax_transfer_guard",
        "jax_transfer_guard_device_to_device",
        "jax_transfer_guard_device_to_host",
        "jax_transfer_guard_host_to_device",
        "jax_use_direct_linearize",
        "jax_use_hlo_logistic_lowering",
        "jax_use_rgv3",
        "jax_use_shardy_partitioner",
        "jax_use_simplified_jaxpr_constants",
    }
)
# Set by `runtime` for every run.
OURS = frozenset({"jax_cpu_enable_async_dispatch", "jax_num_cpu_devices"})
# Options that change at most the speed: recorded if a user sets them.
RECORDED = (
    r"jax2tf_.*",
    r"jax_(array_garbage_collection|thread)_guard",
    r"jax_backend_target|jax_xla_backend|jax_platforms|jax_platform_name",
    r"jax_bcoo_.*|jax_ragged_dot_.*|jax_sort_.*|jax_raise_on_ppermute_sort_diff",
    r"jax_captured_constants_.*|jax_refs_to_pins|jax_mutable_array_checks",
    r"jax_check_.*|jax_debug_.*|jax_enable_checks|jax_error_checking_.*|jax_explain_.*",
    r"jax_compilation_.*|jax_compiler_detailed_.*|jax_(enable|persistent|raise_persistent)_.*cache.*",
    r"jax_cpu_(collectives_implementation|get_.*_topology_timeout_minutes)",
    r"jax_cross_host_.*|jax_distributed_.*|jax_force_dcn_.*|jax_mtls_.*|jax_share_binary_.*",
    r"jax_(cuda|rocm|oneapi)_visible_devices|jax_pjrt_client_create_options",
    r"jax_disable_(jit|most_optimizations|vmap_shmap_error)|jax_disallow_.*|jax_no_.*",
    r"jax_dump_.*|jax_include_.*|jax_log.*|jax_pprint_.*|jax_hlo_source_.*|jax_source_.*",
    r"jax_enable_(pgle|preemption_service|recoverability)|jax_pgle_.*",
    r"jax_exec_time_.*|jax_memory_fitting_.*|jax_optimization_level|jax_use_magma",
    r"jax_experimental_.*|jax_export_.*|jax_serialization_version|jax_xla_profile_version",
    r"jax_mock_gpu_topology|mock_num_gpu_processes",
    r"jax_pallas_.*|jax_mosaic_.*|jax_use_emit_pipeline_primitive|jax_use_cpp_shard_args",
    r"jax_remove_.*|jax_threefry_gpu_kernel_lowering",
    r"jax_.*traceback.*|jax_tracer_error_.*",
)
