"""The report of a workload sums its copies, and keeps what each of them measured."""

import copy

import pytest

from mlpf_jax.report import facts, reader, schema, summing
from tests.report import documents

SPANS = {"training": (10.0, 20.0), "inference": (21.0, 22.0)}


def document(rates=documents.RATES, cores=(0,), **changes):
    slot = {"allowed_cores": list(cores), "cpu_quota": None, "memory_bytes": None}
    found = documents.document(training=rates, inference=rates)
    stats = found["report"]["wl-stats"]
    found["app"]["environment"]["surroundings"]["slot"] = slot
    return copy.deepcopy(found) | {"report": {**found["report"], "wl-stats": stats | changes}}


def part(*args, late_s=0.0, **changes):
    spans = {name: (start + late_s, end) for name, (start, end) in SPANS.items()}
    return summing.Part(document(*args, **changes), spans)


def test_the_rates_of_copies_are_summed_sample_by_sample():
    summed = summing.add([part([1.0, 2.0, 4.0]), part([10.0, 30.0, 20.0])])

    schema.validate(summed)
    report = reader.from_document(summed, "a.json")
    assert report.phases["training"].rates == pytest.approx([11.0, 32.0, 24.0])
    assert report.copies == 2
    assert summed["report"]["wl-scores"]["training"] == pytest.approx(24.0)
    assert report.phases["training"].score.median == pytest.approx(24.0)
    assert report.stats["training"]["count"] == 3


def test_a_step_takes_as_long_as_in_each_copy_however_many_make_a_sample():
    parts = [part(), part()]
    for one, steps in zip(parts, (1, 2), strict=True):
        phase = one.document["report"]["wl-stats"]["phases"]["training"]
        phase |= {"sample_steps": [steps] * 7, "sample_s": [0.5 * steps] * 7}
        phase |= {f"sample_{name}": [5 * steps] * 7 for name in ("events", "elements")}

    phase = summing.add(parts)["report"]["wl-stats"]["phases"]["training"]

    assert phase["step_s"]["median"] == 0.5
    assert (phase["sample_s"][0], phase["sample_steps"][0]) == (0.5, 1)
    assert (phase["sample_events"][0], phase["sample_elements"][0]) == (10, 10)
    assert phase["elements_per_s"] == 20.0


def test_one_time_costs_are_those_of_the_slowest_copy_and_loads_add_up():
    parts = [part(), part()]
    for one, seconds, cores in zip(parts, (1.0, 3.0), (0.25, 0.5), strict=True):
        phase = one.document["report"]["wl-stats"]["phases"]["training"]
        phase |= dict.fromkeys(("lower_s", "compile_s", "first_call_s"), seconds)
        phase |= {"sample_other_cores": [cores] * 7, "sample_stolen_cores": [0.0] * 7}
        phase["flops_per_event"] = 2e9
    of_one = parts[0].document["report"]["wl-stats"]["phases"]["inference"]
    of_one |= {f"sample_{name}_cores": [0.25] * 7 for name in ("other", "stolen")}

    phases = summing.add(parts)["report"]["wl-stats"]["phases"]

    found = phases["training"]
    assert [found[name] for name in ("lower_s", "compile_s", "first_call_s")] == [3.0] * 3
    assert found["sample_other_cores"] == [0.75] * 7
    assert found["flops_per_s"] == pytest.approx(2e9 * 20)
    assert phases["inference"]["sample_other_cores"] == [None] * 7


def test_each_copy_keeps_its_numbers_and_its_offset():
    summed = summing.add([part(cores=(0,), late_s=0.25), part(cores=(4, 5))])

    first, second = summed["report"]["wl-stats"]["copies"]
    assert first["phases"]["training"]["start_offset_s"] == pytest.approx(0.25)
    assert second["phases"]["training"]["start_offset_s"] == 0
    assert first["phases"]["training"]["measured_s"] == pytest.approx(9.75)
    assert second["cores"] == [4, 5]
    assert second["phases"]["inference"]["sample_s"] == [1 / rate for rate in documents.RATES]
    assert summed["app"]["environment"]["surroundings"]["slot"]["allowed_cores"] == [0, 4, 5]


def test_warm_up_of_one_copy_counts_for_none():
    warming = part([0.1, 2.0, 2.0, 2.0])
    phase = warming.document["report"]["wl-stats"]["phases"]["training"]
    phase["num_unsteady_samples"] = 1

    summed = summing.add([warming, part([9.0, 1.0, 1.1, 1.2])])

    report = reader.from_document(summed, "a.json")
    assert report.phases["training"].rates == pytest.approx([3.0, 3.1, 3.2])


def test_a_single_copy_is_the_report_of_its_run():
    alone = part()

    summed = summing.add([alone])

    assert len(summed["report"]["wl-stats"].pop("copies")) == 1
    assert summed == alone.document


def test_copies_that_computed_different_losses_are_doubted():
    summed = summing.add([part(), part(), part(loss_sha256="f" * 64)])

    doubts = summed["report"]["wl-stats"]["doubts"]
    assert doubts == ["copies 3 have another loss_sha256 than copy 1"]


def test_a_doubt_of_one_copy_names_it_and_a_shared_one_is_said_once():
    summed = summing.add([part(doubts=["a", "b"]), part(doubts=["b"])])

    assert summed["report"]["wl-stats"]["doubts"] == ["b", "copy 1: a"]


def test_the_summed_samples_are_doubted_and_not_those_of_each_copy():
    few = [1.0, 1.01, 0.99]
    doubts = ["training: only 3 samples", "inference: only 3 samples"]
    opposite = [part(few, doubts=doubts), part(few[::-1], doubts=doubts)]

    summed = summing.add(opposite)

    assert summed["report"]["wl-stats"]["doubts"] == doubts
    assert summed["report"]["wl-stats"]["copies"][0]["doubts"] == doubts


ENERGY = {
    "joules": 50.0,
    "window_s": 0.5,
    "mean_power_w": 100.0,
    "update_s": 0.001,
    "events_per_j": 0.1,
    "events_per_j_low": 0.09,
    "events_per_j_high": 0.11,
    "net_events_per_j": 0.2,
    "net_events_per_j_low": None,
    "net_events_per_j_high": None,
    "idle_w": 50.0,
    "sampled_j": 50.0,
    "source": "rapl",
    "scope": "package",
    "power_limits_w": [None],
    "is_short": False,
}


@pytest.mark.parametrize(
    ("devices", "power_w", "events_per_j", "scope"),
    [
        # Both read the counters of the same packages, which made twice the events.
        ([{"device_id": "0", "name": "cpu", "platform": "cpu"}], 100.0, 0.2, "package"),
        (documents.GPU, 200.0, 0.1, "2 x package"),
    ],
)
def test_copies_on_a_cpu_share_the_power_and_those_on_accelerators_add_it(
    devices, power_w, events_per_j, scope
):
    parts = [part(), part()]
    for one in parts:
        one.document["app"]["devices"] = devices
        phase = one.document["report"]["wl-stats"]["phases"]["training"]
        phase |= {"energy": ENERGY, "sample_energy_j": [1.0] * 7}
        phase["cost"] = {f"per_million_events{end}": 8.0 for end in ("", "_low", "_high")}

    summed = summing.add(parts)

    schema.validate(summed)
    phase = summed["report"]["wl-stats"]["phases"]["training"]
    assert phase["energy"]["mean_power_w"] == power_w
    assert phase["energy"]["events_per_j"] == pytest.approx(events_per_j)
    assert phase["energy"]["net_events_per_j"] is None
    assert phase["energy"]["scope"] == scope
    assert len(summed["app"]["devices"]) == (1 if scope == "package" else 2)
    assert summed["app"]["environment"]["runtime"]["num_cores"] == 2
    assert len(phase["energy"]["power_limits_w"]) == (1 if scope == "package" else 2)
    assert phase["cost"]["per_million_events"] == pytest.approx(4.0)
    assert "sample_energy_j" not in phase


def test_samples_for_the_energy_stay_with_the_copy_that_took_them():
    parts = [part(), part()]
    extra = [{"seconds": 0.5, "num_events": number, "energy": None} for number in (1, 2)]
    for one, own in zip(parts, extra, strict=True):
        one.document["report"]["wl-stats"]["phases"]["training"]["extra_samples"] = [own]

    stats = summing.add(parts)["report"]["wl-stats"]

    assert "extra_samples" not in stats["phases"]["training"]
    found = [one["phases"]["training"]["extra_samples"] for one in stats["copies"]]
    assert found == [[one] for one in extra]


def test_the_share_of_the_peak_is_that_of_the_summed_rate():
    """The median of the sums is not the sum of the medians."""
    parts = [part([1.0, 2.0, 4.0]), part([10.0, 30.0, 20.0])]
    for one, own in zip(parts, (2.0, 20.0), strict=True):
        phase = one.document["report"]["wl-stats"]["phases"]["training"]
        peak = 100 * phase["flops_per_event"]
        phase["share_of_peak"] = {"share": own / 100, "peak_flops_per_s": peak, "source": ""}

    phase = summing.add(parts)["report"]["wl-stats"]["phases"]["training"]

    share = phase["share_of_peak"]
    assert share["peak_flops_per_s"] == 2 * peak
    assert share["share"] == pytest.approx(phase["flops_per_s"] / (2 * peak)) == 0.12


def test_the_cost_of_copies_has_the_interval_of_their_sum():
    """The copies disturb each other: each is noisy, and all together are not."""
    parts = [part([8.0, 12.0] * 4), part([12.0, 8.0] * 4)]
    for one, whole in zip(parts, (5.5, 6.0), strict=True):  # the slower one counts
        stats = one.document["report"]["wl-stats"]
        stats["cost"] = {"price_per_hour": 0.36, "currency": None, "training": whole}
        stats["cost"] |= {"training_low": 5.0, "training_high": 7.5}
        for phase in stats["phases"].values():
            phase["cost"] = {f"per_million_events{end}": 10.0 for end in ("", "_low", "_high")}

    stats = summing.add(parts)["report"]["wl-stats"]

    cost = stats["phases"]["training"]["cost"]
    assert list(cost.values()) == pytest.approx([5.0] * 3)
    whole = [stats["cost"][f"training{end}"] for end in ("", "_low", "_high")]
    assert whole == pytest.approx([3.0] * 3)


def test_telemetry_says_whose_it_is_and_has_the_devices_of_all_copies():
    parts = [part(), part()]
    for one, limit_w in zip(parts, (700.0, 300.0), strict=True):
        stats = one.document["report"]["wl-stats"]
        description = {"power_limit_w": limit_w}
        source = {"description": description, "refused": {}}
        stats["telemetry"] = {"absent": {}, "sources": {"host": source, "GPU 0": source}}
        stats["phases"]["training"]["telemetry"] = {"time_s": [], "sources": {}}

    summed = summing.add(parts)

    schema.validate(summed)
    stats = summed["report"]["wl-stats"]
    assert stats["telemetry"]["of_copy"] == 1
    assert stats["phases"]["training"]["telemetry"]["of_copy"] == 1
    assert list(stats["telemetry"]["sources"]) == ["host", "GPU 0", "copy 2: GPU 0"]
    told = {fact.name: fact.value for fact in facts.facts(reader.from_document(summed, "a"))}
    assert told["power limit of copy 2: GPU 0"] == "300.0"


def test_the_cost_of_copies_with_few_samples_claims_no_interval():
    parts = [part([1.0] * 5), part([1.0] * 5)]
    for one in parts:
        stats = one.document["report"]["wl-stats"]
        stats["cost"] = {"price_per_hour": 0.36, "currency": None, "training": 6.0}
        for phase in stats["phases"].values():
            phase["cost"] = {"per_million_events": 10.0}

    cost = summing.add(parts)["report"]["wl-stats"]["cost"]

    assert (cost["training"], cost["training_low"], cost["training_high"]) == (3.0, None, None)
