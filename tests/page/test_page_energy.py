"""Energy, cost and sensors on the page, by runs as they are reported."""

import json

import pytest

from mlpf_jax import config
from mlpf_jax.compare import ratio_tables, ratios, runs
from mlpf_jax.render import tables
from mlpf_jax.report import hepscore, reader
from mlpf_jax.telemetry import source
from tests.report import made_up_result
from tests.telemetry import made_up

energy = pytest.importorskip("mlpf_jax.page.energy", exc_type=ImportError)
sensors = pytest.importorskip("mlpf_jax.page.sensors", exc_type=ImportError)
sheet = pytest.importorskip("mlpf_jax.page.sheet", exc_type=ImportError)

TIMES = [float(i) for i in range(60)]
WATTS = [500.0 + i % 7 for i in range(60)]
SERIES = {
    "GPU 0": {"power_w": WATTS, "clock_mhz": [1980.0] * 60, "use": [float("nan")] * 60},
    "GPU 1": {"power_w": WATTS, "clock_mhz": [1755.0] * 60},
    "host": {"busy_cores": [1.5] * 60, "core_mhz": [float("nan")] * 60},
}
EUR = config.PriceConfig(price_per_hour=3.6, currency="EUR")


def rows(*documents):
    groups = [
        runs.Group(name=f"{i}.json", reports=(reader.from_document(document, f"{i}.json"),))
        for i, document in enumerate(documents)
    ]
    return ratios.compare(groups).rows


@pytest.fixture(scope="module")
def measured():
    telemetry = made_up.telemetry(TIMES, SERIES, made_up.meter(WATTS))
    found = made_up_result.run(made_up_result.samples(), telemetry=telemetry, price=EUR)
    return json.loads(json.dumps(hepscore.report(found, "")))


@pytest.fixture(scope="module")
def refused():
    why = source.Absent("RAPL may only be read by root (energy_uj: permission denied)")
    telemetry = made_up.telemetry([], {"host": {}}, why)
    found = made_up_result.run(made_up_result.samples(joules=None), telemetry=telemetry)
    return json.loads(json.dumps(hepscore.report(found, "")))


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are described and not drawn, which takes time."""

    def describe(name, title, caption, values, painter, *, height):
        return sheet.Plot(name=name, title=title, caption=caption, svg=values)

    monkeypatch.setattr(sheet, "plot", describe)


def test_the_table_has_energy_with_its_source_or_the_reason_why_it_is_unknown(measured, refused):
    table = energy.table(rows(measured, refused))

    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert cells[0] == {
        "": "A",
        "phase": "training",
        "energy of": "GPU board",
        "measured by": "NVML total energy",
        "J": "15000",
        "in s": "30",
        "mean W": "500",
        "idle W": "100",
        "limit W": "700",
        "events/J": "0.2",
        "interval": "0.2 to 0.2",
        "net events/J": "0.25",
        "remark": "sampled power: +0.6 %",
    }
    assert [row[""] for row in cells] == ["A", "A"]
    assert energy.unknown(rows(measured, refused)) == (
        "B: energy not known: RAPL may only be read by root (energy_uj: permission denied)",
    )


def test_an_interval_from_0_is_not_unbounded(undrawn, measured):
    wide = json.loads(json.dumps(measured))
    wide["report"]["wl-stats"]["phases"]["training"]["energy"]["events_per_j_low"] = 0.0

    table = energy.table(rows(wide))

    assert table.rows[0][table.columns.index("interval")] == "0 to 0.2"
    assert energy.plots(rows(wide))[0].svg == "A 0.2, interval 0 to 0.2."


def test_energies_and_costs_are_figures_of_the_rows_that_have_them(undrawn, measured, refused):
    plots = energy.plots(rows(refused, measured))

    assert [plot.name for plot in plots] == [
        "energy-training",
        "energy-inference",
        "cost-training",
        "cost-inference",
    ]
    assert plots[0].svg == "B 0.2, interval 0.2 to 0.2."
    assert plots[2].caption.endswith("In EUR.")


def test_costs_of_different_currencies_are_not_in_one_figure(undrawn, measured):
    other = json.loads(json.dumps(measured))
    other["report"]["wl-stats"]["cost"]["currency"] = "CHF"

    names = [plot.name for plot in energy.plots(rows(measured, other))]

    assert names == ["energy-training", "energy-inference"]


def test_sensors_are_drawn_for_rows_that_have_readings(undrawn, measured, refused):
    (plot,) = sensors.plots(rows(refused, measured))

    assert plot.name == "sensors-B"
    assert "power of a device, W: 500 to 506" in plot.caption
    assert "clock of a device, MHz: 1755 to 1980" in plot.caption.replace("\u2009", "")
    assert "busy cores" in plot.caption
    assert "mean frequency" not in plot.caption  # unknown
    assert "share of time" not in plot.caption


def test_sensors_of_copies_are_said_to_be_those_of_the_first(undrawn, measured):
    several = json.loads(json.dumps(measured))
    several["run_info"]["copies"] = 2

    captions = [plot.caption for plot in sensors.plots(rows(measured, several))]

    assert ["Copy 1 alone" in caption for caption in captions] == [False, True]


def test_a_host_with_every_sensor_shows_what_each_of_them_read(undrawn, measured):
    full = json.loads(json.dumps(measured))
    telemetry = full["report"]["wl-stats"]["phases"]["training"]["telemetry"]
    one = {"mean": 1, "min": 1, "max": 1, "values": [1.0] * len(telemetry["time_s"])}
    devices = ("power_w", "clock_mhz", "temperature_c", "use")
    host = ("core_mhz", "busy_cores", "temperature_c")
    telemetry["sources"] = {
        "GPU 0": dict.fromkeys(devices, one),
        "host": dict.fromkeys(host, one),
        "CPU packages": {"power_w": one},
    }

    (plot,) = sensors.plots(rows(full))

    assert "busy cores" in plot.caption
    assert "hottest sensor" in plot.caption


def test_series_that_no_run_writes_do_no_harm(measured):
    other = json.loads(json.dumps(measured))
    phases = other["report"]["wl-stats"]["phases"]
    one = {"mean": 1, "min": 1, "max": 1}
    phases["training"]["telemetry"]["sources"] |= {
        "<script>": {"power_w": one | {"values": [1e300] * 60}},
        "GPU 0": {"power_w": one | {"values": []}, "clock_mhz": one | {"values": [7.0] * 99}},
    }
    phases["inference"]["telemetry"]["time_s"] = []

    (plot,) = sensors.plots(rows(other))

    assert "<script>" not in plot.svg
    assert "clock of a device" in plot.svg


def test_older_files_have_no_section_on_energy(measured):
    for phase in measured["report"]["wl-stats"]["phases"].values():
        assert "energy" in phase
    older = json.loads(json.dumps(measured))
    del older["report"]["wl-stats"]["cost"], older["report"]["wl-stats"]["telemetry"]
    for phase in older["report"]["wl-stats"]["phases"].values():
        for name in ("energy", "energy_unknown", "telemetry", "cost"):
            del phase[name]

    assert energy.table(rows(older)) is None
    assert energy.unknown(rows(older)) == ()
    assert energy.plots(rows(older)) == []
    assert sensors.plots(rows(older)) == []


def test_the_comparison_has_tables_of_energy_and_cost(measured):
    compared = ratios.compare(
        [runs.Group(name="a", reports=(reader.from_document(measured, "a.json"),))]
    )

    text = tables.render(ratio_tables.view(compared), "terminal", width=120)

    assert all(title in text.splitlines() for title in ("Energy", "Cost"))
    assert "GPU board" in text
    assert "10 EUR" in text
    assert "0.072 EUR" in text
