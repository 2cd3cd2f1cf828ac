"""Telemetry, energy and cost as a report contains them."""

import dataclasses
import io

import pytest

from mlpf_jax import config
from mlpf_jax.report import consumption, hepscore, reader, summary
from tests.report import made_up_result
from tests.telemetry import made_up

TIMES = [float(i) for i in range(60)]
GPU = {
    "clock_mhz": [1980.0] * 60,
    "power_w": [500.0] * 60,
    "slowed_by_power_limit": [0.0] * 60,
    "other_processes": [0.0] * 60,
}
EUR = config.PriceConfig(price_per_hour=3.6, currency="EUR")


def recorded(**changes):
    return made_up.telemetry(
        TIMES, {"GPU 0": GPU | changes}, made_up.meter(power_w=(GPU | changes)["power_w"])
    )


def stats_of(run):
    document = hepscore.report(run, "")
    hepscore.validate(document)
    return document["report"]["wl-stats"]


def test_energy_stands_beside_the_score_with_source_scope_window_and_limit():
    stats = stats_of(made_up_result.run(made_up_result.samples(), telemetry=recorded()))

    training = stats["phases"]["training"]
    assert training["energy"] == {
        "joules": 15000.0,
        "window_s": 30.0,
        "mean_power_w": 500.0,
        "events_per_j": pytest.approx(0.2),
        "events_per_j_low": pytest.approx(0.2),
        "events_per_j_high": pytest.approx(0.2),
        "net_events_per_j": pytest.approx(0.25),
        "net_events_per_j_low": pytest.approx(0.25),
        "net_events_per_j_high": pytest.approx(0.25),
        "idle_w": 100.0,
        "sampled_j": pytest.approx(15000.0),
        "source": "NVML total energy",
        "scope": "GPU board",
        "update_s": 0.1,
        "power_limits_w": [700.0],
        "is_short": False,
    }
    assert training["energy_unknown"] is None
    assert (training["host_energy"], training["host_energy_unknown"]) == (None, "no counter")
    assert training["sample_energy_j"] == [500.0] * 30
    assert training["telemetry"]["time_s"] == TIMES[10:40]
    power = training["telemetry"]["sources"]["GPU 0"]["power_w"]
    assert (power["mean"], power["min"], power["max"]) == (500.0, 500.0, 500.0)
    assert not stats["doubts"]


def test_what_could_not_be_measured_is_null_with_its_reason():
    run = made_up_result.run(made_up_result.samples(joules=None), platform="cpu")
    stats = stats_of(run)

    assert stats["telemetry"] is None
    assert stats["phases"]["training"]["energy"] is None
    assert stats["phases"]["training"]["energy_unknown"] == "no telemetry was recorded"
    assert stats["phases"]["training"]["sample_energy_j"] == [None] * 30
    assert stats["cost"] is None
    assert stats["phases"]["training"]["cost"] is None


def test_the_joules_of_one_process_are_not_set_against_the_events_of_all():
    samples = made_up_result.samples(host_joules=100.0)
    both = ({"step_s": {}, "doubts": []},) * 2
    run = made_up_result.run(samples, telemetry=recorded(), processes=both)

    for of_host in (False, True):
        assert consumption.energy(run, run.training, of_host=of_host) is None
        reason = consumption.why_no_energy(run, run.training, of_host=of_host)
        assert reason == "only process 0 read its counters, and 2 processes computed"


def test_the_peak_of_a_card_is_not_that_of_its_partition():
    """A partition of an MI300X is a device of JAX, with the name of the card."""
    whole = made_up_result.run(made_up_result.samples(), telemetry=recorded())
    part = dataclasses.replace(whole.telemetry.sensors[0], description={"share": "partition CPX"})
    telemetry = dataclasses.replace(whole.telemetry, sensors=(part,))
    run = dataclasses.replace(whole, telemetry=telemetry)

    assert whole.share_of_peak(1e12) is not None
    assert run.share_of_peak(1e12) is None
    assert run.peak_unknown.startswith("GPU 0 is a partition CPX")


def test_the_sources_are_described_and_missing_ones_have_a_reason():
    telemetry = stats_of(made_up_result.run(made_up_result.samples(), telemetry=recorded()))[
        "telemetry"
    ]

    assert telemetry["sources"]["GPU 0"]["description"]["share"] == "whole card"
    assert "root" in telemetry["absent"]["CPU packages"]
    assert telemetry["cpu_share"] == pytest.approx(0.001)
    assert telemetry["num_readings"] == 60


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"power_w": [450.0] * 60}, "energy by sampled power differs from the counter by -10 %"),
        ({"slowed_by_power_limit": [1.0] * 60}, "slowed by power limit: GPU 0 in 100 %"),
        ({"other_processes": [1.0] * 60}, "other processes on the device: 1 on GPU 0"),
    ],
)
def test_what_telemetry_shows_is_a_doubt_of_each_phase(changes, doubt):
    run = made_up_result.run(made_up_result.samples(), telemetry=recorded(**changes))

    found = stats_of(run)["doubts"]

    assert [line.partition(": ")[0] for line in found] == ["training", "inference"]
    assert all(doubt in line for line in found)


@pytest.mark.parametrize(
    "price", [EUR, config.PriceConfig(price_cents_per_hour=360, currency="EUR")]
)
def test_cost_follows_from_the_price_with_the_interval_of_the_score(price):
    slow = made_up_result.samples(num=15, seconds=2.0)
    fast = made_up_result.samples(num=15, seconds=1.0, start_s=40.0)
    run = made_up_result.run(fast + slow, telemetry=recorded(), price=price)
    stats = stats_of(run)

    score, cost = run.training.score, stats["phases"]["training"]["cost"]
    assert cost == {
        "per_million_events": pytest.approx(1000.0 / score.median),
        "per_million_events_low": pytest.approx(1000.0 / score.interval_high),
        "per_million_events_high": pytest.approx(1000.0 / score.interval_low),
    }
    whole = stats["cost"]
    assert (whole["price_per_hour"], whole["currency"]) == (3.6, "EUR")
    assert whole["training"] == pytest.approx(0.072)
    assert whole["training_low"] < whole["training"] < whole["training_high"]


def test_costs_at_few_samples_claim_no_interval():
    run = made_up_result.run(made_up_result.samples(num=5), telemetry=recorded(), price=EUR)
    stats, shown = stats_of(run), io.StringIO()

    summary.show(run, "", shown)

    costs = (stats["phases"]["training"]["cost"], stats["cost"])
    for cost, name in zip(costs, ("per_million_events", "training"), strict=True):
        assert (cost[f"{name}_low"], cost[f"{name}_high"]) == (None, None)
    (line,) = {line.strip(" │") for line in shown.getvalue().splitlines() if "per million" in line}
    assert line.endswith("EUR per million events")


def test_energy_and_cost_are_lines_of_the_summary_only_if_known():
    def shown(**fields):
        stream = io.StringIO()
        summary.show(made_up_result.run(made_up_result.samples(), **fields), "x", stream)
        return stream.getvalue()

    text = shown(telemetry=recorded(), price=EUR)
    assert "0.2 events/J" in text
    assert "500 W by NVML total energy (GPU board)" in text
    assert "10 EUR per million events" in text
    assert "events/J" not in shown()
    assert "per million" not in shown()


def test_a_reader_gets_the_devices_as_facts():
    run = made_up_result.run(made_up_result.samples(), telemetry=recorded())

    report = reader.from_document(hepscore.report(run, ""), "a.json")

    facts = {fact.name: fact.value for fact in report.facts()}
    assert facts["share of GPU 0"] == "whole card"
    assert facts["power limit of GPU 0"] == "700.0"
    assert report.phases["training"].energy["joules"] == 15000.0


def test_a_rate_above_the_peak_is_doubted():
    run = made_up_result.run(made_up_result.samples(), telemetry=recorded())
    peak = run.share_of_peak(run.training.flops_per_s)["peak_flops_per_s"]
    per_event = run.training.flops_per_event * peak / run.training.flops_per_s
    told = "training: 1.2 times the peak rate of the devices, which is impossible"

    def doubts(share):
        training = dataclasses.replace(run.training, flops_per_event=share * per_event)
        return dataclasses.replace(run, training=training).doubts

    assert told in doubts(1.2)
    assert not any("peak" in doubt for doubt in doubts(0.99))
