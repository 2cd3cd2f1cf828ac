"""A user's XLA_FLAGS, parsed as by XLA itself."""

import os

import pytest

from mlpf_jax.measure import xla_flags

OURS = {"--xla_cpu_prefer_vector_width": "512", "--xla_gpu_deterministic_ops": "true"}


def test_flags_are_split_at_blanks_outside_of_quotation_marks():
    value = " --xla_a=1\t--xla_dump_hlo_module_re='a b'\n--xla_c"

    assert xla_flags.read(value) == ["--xla_a=1", "--xla_dump_hlo_module_re=a b", "--xla_c"]
    assert xla_flags.read("  ") == []


def test_a_value_without_a_leading_dash_is_a_file_of_flags(tmp_path):
    path = tmp_path / "flags"
    path.write_text("--xla_a=1\n--xla_b=2\n")

    assert xla_flags.read(str(path)) == ["--xla_a=1", "--xla_b=2"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe--xla_a"])
def test_a_file_that_cannot_be_read_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "flags"
    if content:
        path.write_bytes(content)

    with pytest.raises(ValueError, match=rf"^XLA_FLAGS={path}: .* begin with --, or a file"):
        xla_flags.read(str(path))


def test_an_unmatched_quotation_mark_is_an_error():
    with pytest.raises(ValueError, match=r"^XLA_FLAGS: No closing quotation"):
        xla_flags.read("--xla_a='b")


def test_our_flags_are_added_where_the_user_sets_none():
    joined = xla_flags.join(["--xla_cpu_prefer_vector_width=256", "--xla_b=c d"], OURS)

    assert joined == (
        "--xla_cpu_prefer_vector_width=256 --xla_b='c d' --xla_gpu_deterministic_ops=true"
    )
    assert xla_flags.read(joined)[1] == "--xla_b=c d"


def test_a_flag_with_a_longer_name_does_not_hide_ours():
    joined = xla_flags.join(["--xla_gpu_deterministic_ops_of_tomorrow=1"], OURS)

    assert "--xla_gpu_deterministic_ops=true" in joined.split()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--xla_no_such_flag=1",
            "this jaxlib does not know --xla_no_such_flag=1. Take it out, or use a jaxlib",
        ),
        (
            "--xla_gpu_autotune_level=banana",
            "banana is not a valid value of --xla_gpu_autotune_level. Correct it",
        ),
    ],
)
def test_a_flag_that_would_abort_xla_is_named(flag, message):
    with pytest.raises(ValueError, match=f"^XLA_FLAGS: {message}"):
        xla_flags.check(["--xla_cpu_enable_fast_math=false", flag], os.environ)


def test_flags_that_xla_knows_pass():
    xla_flags.check(
        ["--xla_cpu_enable_fast_math=false", "--xla_dump_hlo_module_re=a b"], os.environ
    )


def test_virtual_devices_have_a_flag_of_ours():
    with pytest.raises(ValueError, match="Give --num_devices=N instead"):
        xla_flags.check(["--xla_force_host_platform_device_count=4"], {})


def test_paths_are_not_recorded():
    flags = "--xla_dump_to=/home/someone/dump --xla_cpu_prefer_vector_width=512 --xla_c"

    shown = xla_flags.shown(flags)

    assert shown == "--xla_dump_to=PATH --xla_cpu_prefer_vector_width=512 --xla_c"


@pytest.mark.parametrize("name", ["dump_to", "gpu_kernel_cache_file", "gpu_cuda_data_dir"])
def test_a_relative_path_is_not_shown_either(name):
    assert xla_flags.shown(f"--xla_{name}=project7") == f"--xla_{name}=PATH"


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--xla_backend_optimization_level=0", "fewer optimizations"),
        ("--xla_cpu_enable_fast_math=true", "inexact arithmetic"),
        ("--xla_cpu_enable_fast_math", "inexact arithmetic"),
        ("--xla_dump_to=PATH", "writes files"),
        ("--xla_disable_hlo_passes=fusion", "skipped"),
    ],
)
def test_flags_that_change_the_speed_are_reasons_to_distrust(flag, word):
    (doubt,) = xla_flags.doubts(f"--xla_cpu_prefer_vector_width=512 {flag}")

    assert doubt.startswith(f"XLA_FLAGS {flag}: ")
    assert word in doubt


@pytest.mark.parametrize("flag", ["--xla_cpu_enable_fast_math=false", "--xla_gpu_autotune_level=4"])
def test_other_flags_give_no_reason_to_distrust(flag):
    assert xla_flags.doubts(flag) == []
