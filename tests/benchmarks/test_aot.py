"""Targets without devices, and the tables of what compiles for them."""

import json

import pytest

from benchmarks.aot import table, targets


def program(target="h200", precision="tf32", **fields):
    return {
        "target": target,
        "phase": "train",
        "network": "small",
        "precision": precision,
        "pair_kernel": "xla",
        "why_not_compiled": None,
        "stablehlo": {"add": 2},
        "compiled": {
            "compile_s": 3.2,
            "num_launches": 40,
            "bytes_moved": 2e9,
            "memory": {"temporary_bytes": 1e9},
        },
    } | fields


def test_the_matrix_says_of_every_target_and_precision_what_became_of_it():
    refused = program("mi300", why_not_compiled="no TF32", compiled=None)
    del refused["stablehlo"]
    programs = [
        program(),
        program(precision="bf16", compiled={"error": "out of registers\nmore"}),
        refused,
        program("mi300", "float32", why_not_compiled="no compiler", compiled=None),
    ]

    *_, h200, mi300 = table.matrix(programs).splitlines()

    assert h200 == "| h200 | train | small | xla | - | compiles, 40 launches | fails |"
    assert mi300 == "| mi300 | train | small | xla | lowered | no TF32 | - |"
    assert [table.row(one).split(" | ")[5] for one in programs] == [
        "3",
        "out of registers",
        "no TF32",
        "no compiler",
    ]


def test_every_gpu_has_a_description_that_names_its_platform():
    gpus = {name: platform for name, platform in targets.PLATFORMS.items() if platform != "tpu"}

    for name, platform in gpus.items():
        text = (targets.DESCRIPTIONS / f"{name}.txtpb").read_text()
        assert f'platform_name: "{platform.upper()}"' in text
    assert set(targets.ABSENT) == set(targets.PLATFORMS.values())
    assert len(list(targets.DESCRIPTIONS.glob("*.txtpb"))) == len(gpus)


def test_programs_of_another_commit_or_with_other_flags_are_not_added_to_a_file(tmp_path):
    path = tmp_path / "found.json"
    document = {
        "num_elements": 6400,
        "flops_per_event": {"train": 1.0, "infer": 1.0},
        "environment": {"versions": {"jax": "0.10.2"}, "git_commit": "a"},
    }
    assert table.earlier_programs(path, document) == []
    path.write_text(json.dumps(document | {"programs": [program()]}))

    assert table.earlier_programs(path, document) == [program()]
    other = document | {"environment": document["environment"] | {"git_commit": "b"}}
    with pytest.raises(ValueError, match="another git_commit"):
        table.earlier_programs(path, other)
    with pytest.raises(ValueError, match="another XLA_FLAGS"):
        table.earlier_programs(path, document | {"xla_flags": "--xla_gpu_autotune_level=0"})
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a file of this program"):
        table.earlier_programs(path, document)
