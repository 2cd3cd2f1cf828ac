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
    return [_entry(one) for one in decision["measures"] if _is_bigger_better(one)]


def smaller_is_better(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the compile time and the memory, for customSmallerIsBetter."""
    return [_entry(one) for one in decision["measures"] if not _is_bigger_better(one)]


def bencher(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the Bencher Metric Format: benchmark, then measure, then value and bounds.

    Source: "Bencher Metric Format (BMF)" in Bencher's reference.
    """
    measures = {"timed": "compile-seconds", "exact": "memory-bytes", "quality": "accuracy"}
    metrics: dict[str, Any] = {}
    for one in decision["measures"]:
        # `throughput` is a built-in measure: per second.
        measure = "throughput" if one["name"] in _RATES else measures[one["kind"]]
        interval = _interval(one)
        metrics.setdefault(one["name"].removeprefix("memory "), {})[measure] = {
            "value": interval["value"],
            "lower_value": interval["low"],
            "upper_value": interval["high"],
        }
    return metrics


def _is_bigger_better(one: Mapping[str, Any]) -> bool:
    return one["name"] in _RATES or one["kind"] == "quality"


def _interval(one: Mapping[str, Any]) -> Mapping[str, float]:
    """Returns B's value; seconds per event become events per second, which swaps the ends."""
    cost = one["b"]
    if one["name"] not in _RATES:
        return cost
    return {"value": 1 / cost["value"], "low": 1 / cost["high"], "high": 1 / cost["low"]}


def _entry(one: Mapping[str, Any]) -> dict[str, Any]:
    unit = "events/s" if one["name"] in _RATES else one["unit"] or "share"
    interval, ratio = _interval(one), one["ratio"]
    parts = [one["verdict"], one["reason"], f"B / A in cost {ratio['value']:.4f}" if ratio else ""]
    return {
        "name": one["name"],
        "unit": unit,
        "value": interval["value"],
        "range": f"± {(interval['high'] - interval['low']) / 2:.3g}",
        "extra": ", ".join(filter(None, parts)),
    }
