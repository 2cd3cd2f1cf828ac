"""Exports decisions of the gate to the formats of services that plot benchmark histories.

github-action-benchmark reads a list of values for which higher (`customBiggerIsBetter`) or lower
(`customSmallerIsBetter`) is better; Bencher reads its Bencher Metric Format. All contain the values
of side B.
"""

import json
from collections.abc import Mapping
from typing import Any

_RATES = ("training", "inference")


def files(decision: Mapping[str, Any]) -> dict[str, str]:
    """Returns the exports as texts, by file name. `decision` is a valid decision document."""
    exports = {
        "bigger-is-better.json": bigger_is_better(decision),
        "smaller-is-better.json": smaller_is_better(decision),
        "bencher.json": bencher(decision),
    }
    return {
        name: json.dumps(export, indent=2, allow_nan=False) + "\n"
        for name, export in exports.items()
    }


def bigger_is_better(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rates and the accuracy for github-action-benchmark's customBiggerIsBetter.

    Source: README.md of benchmark-action/github-action-benchmark.
    """
    rates = [
        _entry(one, "events/s", _rate(one["b"]))
        for one in decision["measures"]
        if one["name"] in _RATES
    ]
    return rates + [
        _entry(one, "share", one["b"]) for one in decision["measures"] if one["kind"] == "quality"
    ]


def smaller_is_better(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the compile time and the memory, for customSmallerIsBetter."""
    return [
        _entry(one, one["unit"], one["b"])
        for one in decision["measures"]
        if one["kind"] != "quality" and one["name"] not in _RATES
    ]


def bencher(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the Bencher Metric Format: benchmark, then measure, then value and bounds.

    Source: "Bencher Metric Format (BMF)" in Bencher's reference.
    """
    metrics: dict[str, Any] = {}
    for one in decision["measures"]:
        name, measure, interval = one["name"], "accuracy", one["b"]
        if name in _RATES:
            measure, interval = "throughput", _rate(one["b"])  # a built-in one: per second
        elif name == "compile":
            measure = "compile-seconds"
        elif one["kind"] == "exact":
            measure, name = "memory-bytes", name.removeprefix("memory ")
        metrics.setdefault(name, {})[measure] = {
            "value": interval["value"],
            "lower_value": interval["low"],
            "upper_value": interval["high"],
        }
    return metrics


def _rate(cost: Mapping[str, float]) -> dict[str, float]:
    """Converts seconds per event to events per second, which swaps the ends of the interval."""
    return {"value": 1 / cost["value"], "low": 1 / cost["high"], "high": 1 / cost["low"]}


def _entry(one: Mapping[str, Any], unit: str, interval: Mapping[str, float]) -> dict[str, Any]:
    half = (interval["high"] - interval["low"]) / 2
    ratio = one["ratio"]
    parts = [one["verdict"], one["reason"], f"B / A in cost {ratio['value']:.4f}" if ratio else ""]
    return {
        "name": one["name"],
        "unit": unit,
        "value": interval["value"],
        "range": f"± {half:.3g}",
        "extra": ", ".join(filter(None, parts)),
    }
