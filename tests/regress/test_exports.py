"""The exports are what github-action-benchmark and Bencher read."""

import json

import pytest

from mlpf_jax.regress import exports


def measure(name, kind, unit, value, ratio=1.1):
    return {
        "name": name,
        "kind": kind,
        "unit": unit,
        "verdict": "regression",
        "reason": "confirmed",
        "a": {"value": 1.0, "low": 1.0, "high": 1.0},
        "b": {"value": value, "low": value / 2, "high": value * 2},
        "ratio": ratio and {"value": ratio, "low": 1.0, "high": 1.2},
    }


DECISION = {
    "measures": [
        measure("training", "timed", "s/event", 0.5),
        measure("compile", "timed", "s", 8.0),
        measure("memory training", "exact", "bytes", 1000.0),
        measure("accuracy", "quality", "", 0.9, ratio=None),
    ]
}


def test_github_action_benchmark_gets_lists_of_values_with_ranges():
    bigger = exports.bigger_is_better(DECISION)
    smaller = exports.smaller_is_better(DECISION)

    assert bigger[0] == {
        "name": "training",
        "unit": "events/s",
        "value": 2.0,
        "range": "± 1.5",
        "extra": "regression, confirmed, B / A in cost 1.1000",
    }
    assert [entry["name"] for entry in bigger] == ["training", "accuracy"]
    assert [(entry["name"], entry["unit"]) for entry in smaller] == [
        ("compile", "s"),
        ("memory training", "bytes"),
    ]
    for entry in bigger + smaller:
        assert isinstance(entry["value"], float)
        assert all(isinstance(entry[key], str) for key in ("name", "unit", "range", "extra"))


def test_bencher_gets_measures_with_bounds_in_order():
    metrics = exports.bencher(DECISION)

    assert metrics["training"]["throughput"] == {
        "value": 2.0,
        "lower_value": 1.0,
        "upper_value": 4.0,
    }
    assert set(metrics["training"]) == {"throughput", "memory-bytes"}
    assert set(metrics) == {"training", "compile", "accuracy"}
    for measures in metrics.values():
        for metric in measures.values():
            assert metric["lower_value"] <= metric["value"] <= metric["upper_value"]


@pytest.mark.parametrize(
    "name", ["bigger-is-better.json", "smaller-is-better.json", "bencher.json"]
)
def test_every_export_is_json(name):
    assert json.loads(exports.files(DECISION)[name])
