"""The configuration for hep-score fits the workload, and no argument of it would be dropped."""

import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml

from mlpf_jax.commands import workload
from mlpf_jax.report import hepscore

FOLDER = Path(__file__).parents[2] / "tools" / "container"
BENCHMARKS = yaml.safe_load((FOLDER / "hepscore.yaml").read_text())["hepscore_benchmark"][
    "benchmarks"
]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_reads_the_summary_that_is_written_and_every_argument_is_an_option(name):
    benchmark = BENCHMARKS[name]

    assert benchmark["results_file"] == hepscore.FILE_NAME
    assert benchmark["version"] == f"v{importlib.metadata.version('mlpf_jax')}"
    assert set(benchmark["ref_scores"]) == {"training", "inference"}
    for option, value in benchmark["args"].items():
        assert option.lstrip("-").replace("-", "_") in workload._FLAGS
        assert re.fullmatch(r"[a-zA-Z0-9\-_]*", str(value))


def test_the_suite_runs_hepscore_with_that_configuration():
    suite = yaml.safe_load((FOLDER / "suite.yaml").read_text())

    assert suite["global"]["benchmarks"] == ["hepscore"]
    assert (FOLDER / suite["hepscore"]["config"]).is_file()
