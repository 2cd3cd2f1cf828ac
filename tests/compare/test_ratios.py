"""Ratios to the baseline are correct, with correct intervals, and refused where required."""

import math

import numpy as np
import pytest

from mlpf_jax.compare import history, ratios, runs
from tests.report import documents

SLOWER = tuple(rate / 1.2 for rate in documents.RATES)


def group(name, *rates, changes=None):
    return runs.Group(
        name=name,
        reports=tuple(documents.report(f"{name}.json", training=r, changes=changes) for r in rates),
    )


def second(a, b, **options):
    return ratios.compare([a, b], **options).rows[1].phases["training"]


def test_a_step_from_a_cache_is_marked_and_has_no_compile_time():
    phases = "report/wl-stats/phases"
    changes = {f"{phases}/{name}/compile_s": None for name in ("training", "inference")}
    changes["run_info/config/measures_compile"] = False
    groups = [
        runs.Group(name="a", reports=(documents.report("a.json"),)),
        runs.Group(name="b", reports=(documents.report("b.json", changes=changes),)),
    ]

    _, row = ratios.compare(groups).rows

    assert row.phases["training"].compile_s is None
    (finding,) = [found for found in row.against if "compiled in its process" in found.text]
    assert finding.severity == "marked"
    assert history.METRICS["compile_s"].of(row.group.first) is None


def test_the_baseline_has_no_ratio_and_the_others_have_theirs_to_it():
    found = ratios.compare([group("a", documents.RATES), group("b", SLOWER)])

    first, other = (row.phases["training"] for row in found.rows)
    assert first.ratio is None
    assert first.throughput.median == pytest.approx(10.0)
    assert other.ratio.value == pytest.approx(1 / 1.2, rel=0.01)
    assert other.ratio.low < 1 / 1.2 < other.ratio.high
    assert other.verdict == "slower"
    assert found.rows[1].phases["inference"].verdict == "cannot tell"


def test_a_run_against_itself_is_no_finding():
    same = group("a", documents.RATES)

    assert second(same, group("b", documents.RATES)).verdict == "cannot tell"
    assert second(same, group("b", documents.RATES)).ratio.value == pytest.approx(1.0)


def test_the_assumed_run_noise_widens_the_interval_of_few_runs():
    rates = tuple(rate / 1.04 for rate in documents.RATES * 10)
    a, b = group("a", documents.RATES * 10), group("b", rates)

    assert second(a, b, run_noise=0.0).verdict == "slower"
    assert second(a, b, run_noise=0.03).verdict == "cannot tell"


def test_runs_that_are_enough_are_compared_as_runs():
    a = group("a", *(tuple(f * rate for rate in documents.RATES) for f in (1, 1.01, 0.99, 1.02)))
    b = group("b", *(tuple(f * rate for rate in SLOWER) for f in (1, 1.01, 0.99, 1.02)))

    found = second(a, b)

    assert found.ratio_basis == "runs"
    assert found.ratio.count == 4
    assert found.verdict == "slower"


def test_noise_between_few_runs_counts_less_the_more_there_are():
    one, three = (
        second(group("a", *[documents.RATES] * n), group("b", *[SLOWER] * n)) for n in (1, 3)
    )

    assert {one.ratio_basis, three.ratio_basis} == {"samples"}
    widths = [math.log(found.ratio.high / found.ratio.low) for found in (one, three)]
    assert widths[1] < widths[0]


def process(rng, noise):
    """The rates of one process: 20 samples around the process's own mean."""
    return tuple(10 * np.exp(rng.normal(0, noise) + rng.normal(0, 0.02, 20)))


@pytest.mark.parametrize("noise", [pytest.param(0.0, marks=pytest.mark.slow), ratios.RUN_NOISE])
def test_equal_runs_are_rarely_called_different(noise):
    rng = np.random.default_rng(5)
    trials = 60

    alarms = sum(
        second(group("a", process(rng, noise)), group("b", process(rng, noise))).verdict
        != "cannot tell"
        for _ in range(trials)
    )

    assert alarms <= 0.1 * trials


def test_without_the_noise_between_processes_equal_runs_are_often_called_different():
    rng = np.random.default_rng(6)

    alarms = [
        second(group("a", process(rng, 0.03)), group("b", process(rng, 0.03)), run_noise=0.0)
        for _ in range(20)
    ]

    assert sum(found.verdict != "cannot tell" for found in alarms) > 5


def test_a_refused_phase_has_its_numbers_and_no_ratio():
    other = group("b", SLOWER, changes={"run_info/config/model/hidden_dim": 64})

    found = ratios.compare([group("a", documents.RATES), other])

    assert found.rows[1].phases["training"].ratio is None
    assert found.rows[1].phases["training"].throughput.median == pytest.approx(10 / 1.2)
    (reason,) = ratios.refusals(found)
    assert reason.startswith("b against a: another network")


def test_of_several_runs_the_median_is_shown_and_the_largest_memory():
    path = "report/wl-stats/phases/training"
    reports = tuple(
        documents.report(
            changes={
                f"{path}/first_call_s": float(n),
                f"{path}/memory_per_device/total_bytes": n,
                "report/wl-stats/memory/peak_process_bytes": 10 * n,
            }
        )
        for n in (1, 2, 9)
    )

    (row,) = ratios.compare([runs.Group(name="a", reports=reports)]).rows

    assert row.phases["training"].first_call_s == 2.0
    assert row.phases["training"].memory_bytes == 9
    assert row.peak_process_bytes == 90


ENERGY_OF = {  # by events per joule
    value: {
        "events_per_j": value,
        "events_per_j_low": value - 0.1,
        "events_per_j_high": value + 0.1,
    }
    for value in (0.5, 0.6, 0.8)
}
COST = {"per_million_events": 3.0, "per_million_events_low": 2.0, "per_million_events_high": 4.0}
PHASE = "report/wl-stats/phases/training"


def priced(price=2.5, currency="EUR", **cost):
    return {
        f"{PHASE}/cost": COST,
        "report/wl-stats/cost": {"price_per_hour": price, "currency": currency, **cost},
    }


def test_energy_and_cost_are_there_with_intervals_if_the_file_has_them():
    changes = priced(training=7.0, training_low=6.0, training_high=9.0)
    changes[f"{PHASE}/energy"] = ENERGY_OF[0.5]

    _, row = ratios.compare([group("a", documents.RATES), group("b", SLOWER, changes=changes)]).rows

    found = row.phases["training"]
    assert (found.events_per_j, found.events_per_j_low, found.events_per_j_high) == (0.5, 0.4, 0.6)
    assert found.net_events_per_j is None
    assert (found.cost_per_million_events, found.cost_per_million_events_high) == (3.0, 4.0)
    assert (row.training_cost, row.training_cost_low, row.currency) == (7.0, 6.0, "EUR")


def test_the_energy_of_too_short_a_window_says_so():
    energy = ENERGY_OF[0.5] | {"scope": "GPU board", "is_short": True}

    (row,) = ratios.compare([group("a", documents.RATES, changes={f"{PHASE}/energy": energy})]).rows

    assert row.phases["training"].energy_scope == "GPU board, too short for the counter"


def test_of_several_runs_the_intervals_of_energy_reach_to_the_outermost():
    reports = [
        documents.report(changes={f"{PHASE}/energy": energy}) for energy in ENERGY_OF.values()
    ]

    (row,) = ratios.compare([runs.Group(name="a", reports=tuple(reports))]).rows

    found = row.phases["training"]
    assert found.events_per_j == 0.6
    assert (found.events_per_j_low, found.events_per_j_high) == pytest.approx((0.4, 0.9))


def test_of_several_runs_an_end_is_unknown_if_that_of_one_is():
    energies = [ENERGY_OF[0.5], ENERGY_OF[0.6] | {"events_per_j_low": None}]
    reports = [documents.report(changes={f"{PHASE}/energy": energy}) for energy in energies]

    (row,) = ratios.compare([runs.Group(name="a", reports=tuple(reports))]).rows

    found = row.phases["training"]
    assert (found.events_per_j_low, found.events_per_j_high) == (None, pytest.approx(0.7))


@pytest.mark.parametrize("other", [None, ENERGY_OF[0.8] | {"scope": "2 CPU packages"}])
@pytest.mark.parametrize("order", [1, -1])
def test_runs_without_a_common_energy_have_none_together(other, order):
    energies = [ENERGY_OF[0.5] | {"scope": "1 CPU package"}, other][::order]
    reports = [documents.report(changes={f"{PHASE}/energy": energy}) for energy in energies]

    (row,) = ratios.compare([runs.Group(name="a", reports=tuple(reports))]).rows

    assert (row.phases["training"].events_per_j, row.phases["training"].energy_scope) == (None,) * 2


@pytest.mark.parametrize("other", [priced(price=9.0), priced(currency="CHF"), {}])
def test_runs_of_different_prices_have_no_cost_together(other):
    reports = tuple(documents.report(changes=changes) for changes in (priced(), other))

    (row,) = ratios.compare([runs.Group(name="a", reports=reports)]).rows

    assert row.phases["training"].cost_per_million_events is None
    assert row.currency is None


def test_rows_are_labelled_like_the_columns_of_a_spreadsheet():
    rows = ratios.compare([group("a", documents.RATES)] * 28).rows

    assert [row.label for row in rows[:2] + rows[25:]] == ["A", "B", "Z", "AA", "AB"]
