"""Figures use the page's colours, fonts and ids, and report what they omit."""

import itertools
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlpf_jax.compare import ratios, runs
from mlpf_jax.page import envelope, svg
from tests.report import documents

sheet = pytest.importorskip("mlpf_jax.page.sheet", exc_type=ImportError)
learning = pytest.importorskip("mlpf_jax.page.learning", exc_type=ImportError)
scaling = pytest.importorskip("mlpf_jax.page.study_figures", exc_type=ImportError)
steps = pytest.importorskip("mlpf_jax.page.steps", exc_type=ImportError)
telemetry = pytest.importorskip("mlpf_jax.page.telemetry", exc_type=ImportError)
throughput = pytest.importorskip("mlpf_jax.page.throughput", exc_type=ImportError)

STYLE = (Path(svg.__file__).parent / "style.css").read_text(encoding="utf-8")
PALETTE = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE
    )
}
FINITE = st.floats(-1e6, 1e6)


def row(number=0, name="a.json", **parts):
    groups = [runs.Group(name=name, reports=(documents.report(name, **parts),))]
    return ratios.compare(groups * (number + 1)).rows[number]


def drawn(painter=lambda picture: picture.subplots().plot([1, 2], [3, 4], "o-"), name="one"):
    return sheet.plot(name, "Title", "Caption", "Values", painter, height=100.0)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """WCAG 2.2, "contrast ratio"."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "link", "good", "bad"])
def test_text_can_be_read_on_every_ground(name, theme):
    for ground in ("ground", "paper", "shade"):
        assert contrast(PALETTE[name][theme], PALETTE[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("number", range(1, sheet.NUM_COLOURS + 1))
def test_the_colour_of_a_row_stands_out_and_carries_its_label(number, theme):
    paint = PALETTE[f"series-{number}"][theme]

    assert contrast(paint, PALETTE["paper"][theme]) >= 4.5


def test_neighbouring_parts_of_a_bar_can_be_told_apart():
    for first, second in zip(("part-1", "part-2"), ("part-2", "part-3"), strict=True):
        for theme in (0, 1):
            assert contrast(PALETTE[first][theme], PALETTE[second][theme]) >= 1.5


def test_figures_side_by_side_share_no_id_and_keep_their_references():
    first, second = drawn(name="one").svg, drawn(name="two").svg
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    references = set(re.findall(r'(?:url\(|href=")#([^)"]+)', first))

    assert not ids[0] & ids[1]
    assert references <= ids[0]


def test_a_figure_has_the_colours_and_the_typeface_of_the_page():
    def paint(picture):
        ax = picture.subplots()
        ax.plot([1, 2], [3, 4], color=sheet.colour(2))
        ax.set_title("text")

    text = drawn(paint).svg

    assert "var(--series-3)" in text
    assert "font-family" not in text
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"#one-[\w-]+", "", text))
    assert "<style" not in text
    assert "xmlns" not in text


def test_figures_have_titles_and_descriptions_for_screen_readers():
    root = ElementTree.fromstring(drawn().svg)

    assert root.get("role") == "img"
    assert [(child.tag, child.text) for child in root[:2]] == [
        ("title", "Title"),
        ("desc", "Values"),
    ]
    assert root.get("aria-labelledby").split() == [child.get("id") for child in root[:2]]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60))
def test_whatever_a_title_says_it_is_text(text):
    raw = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'

    found = svg.inline(raw, name="x", title=text, description=text, variables={})

    root = ElementTree.fromstring(found)
    assert [child.text or "" for child in root] == [text, text]


@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=40))
def test_a_path_is_made_shorter_and_stays_where_it_was(points):
    d = "M " + "L ".join(f"{x:f} {y:f} " for x, y in points)
    raw = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="{d}"/></svg>'

    found = svg.inline(raw, name="x", title="", description="", variables={})

    short = ElementTree.fromstring(found).find("path").get("d")
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", short)]
    assert np.allclose(numbers, np.ravel(points), atol=0.051)
    assert len(short) <= len(d)


@given(
    hnp.arrays(np.float64, st.integers(0, 300), elements=FINITE),
    st.integers(1, 20),
)
def test_an_envelope_hides_no_extreme_and_no_place(values, most):
    found = envelope.envelope(values, most)

    assert found.place.size == (values.size if values.size <= 2 * most else most)
    if values.size:
        assert (found.low.min(), found.high.max()) == (values.min(), values.max())
        assert np.all(found.low <= found.median)
        assert np.all(found.median <= found.high)
        assert np.all(np.diff(found.place) > 0)
        assert 0 <= found.place[0] <= found.place[-1] <= values.size - 1
    if values.size <= 2 * most:
        assert np.array_equal(found.median, values)


def test_a_spike_among_thousands_is_seen_in_its_place():
    values = np.ones(3000)
    values[1500] = 9.0

    found = envelope.envelope(values)

    assert found.high.max() == 9.0
    assert abs(found.place[found.high.argmax()] - 1500) <= 10


def test_unknown_values_hide_no_spike_of_their_stretch():
    values = np.ones(3000)
    values[::5] = np.nan
    values[1500] = 9.0
    values[:30] = np.nan

    found = envelope.envelope(values)

    assert np.nanmax(found.high) == 9.0
    assert np.flatnonzero(np.isnan(found.median)).tolist() == [0, 1]


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.2))
def test_labels_are_moved_apart_in_order_and_stay_inside_where_there_is_room(heights, space):
    heights = sorted(heights)

    found = learning.apart(heights, space)

    assert all(b - a >= space * (1 - 1e-9) for a, b in itertools.pairwise(found))
    assert not found or found[-1] <= 1.0 + 1e-9
    if found and (len(found) - 1) * space <= heights[0]:
        assert found[0] >= heights[0] - len(found) * space


def test_labels_that_are_apart_stay_where_they_are():
    assert learning.apart([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]


def test_an_outlying_sample_does_not_flatten_the_plot_and_is_described():
    rates = [10.0 + 0.01 * (i % 5) for i in range(40)]
    rates[20] = 0.5

    ((plot, _),) = steps.plots([row(training=rates)])

    assert "\u25b2 1 beyond the axis, up to 2 s." in plot.caption


def test_warm_up_is_shaded_and_described():
    changes = {"report/wl-stats/phases/training/num_unsteady_samples": 3}
    rates = [5.0] * 3 + [10.0 + 0.01 * (i % 5) for i in range(40)]

    shaded, plain = steps.plots([row(training=rates, changes=changes)])[0]

    assert "Shaded" in shaded.caption
    assert "var(--shade)" in shaded.svg
    assert "var(--shade)" not in plain.svg


def test_the_warm_up_of_every_segment_is_shaded_where_it_was():
    fields = "report/wl-stats/phases/training"
    early = [True, True, *[False] * 20, True, *[False] * 20]
    changes = {f"{fields}/sample_is_unsteady": early, f"{fields}/num_unsteady_samples": 3}
    rates = [5.0 if is_early else 10.0 + 0.01 * (i % 5) for i, is_early in enumerate(early)]

    plot = steps.plots([row(training=rates, changes=changes)])[0][0]

    assert plot.svg.count("var(--shade)") == 2
    assert "40 steady samples, 3 before the steady state" in plot.svg


def test_samples_that_all_took_the_same_time_have_an_axis(recwarn):
    plot = steps.plots([row(training=[10.0])])[0][0]

    assert "1 steady sample, 0 before" in plot.svg
    assert not recwarn.list


def test_long_runs_are_drawn_in_stretches_and_the_caption_says_so():
    long = [10.0 + 0.01 * (i % 11) for i in range(3000)]

    short, small = steps.plots([row(training=long)])[0], len(steps.plots([row()])[0][0].svg)

    assert "of 200 stretches" in short[0].caption
    assert len(short[0].svg) < small + 20_000


def test_emulated_devices_are_hollow():
    emulated = {"run_info/is_emulated": True}

    found = throughput.plots([row(changes=emulated)])[0].svg

    assert "fill: var(--paper)" in found
    assert "fill: var(--paper)" not in throughput.plots([row()])[0].svg


def test_an_open_interval_is_cut_at_the_edge():
    few = ratios.compare(
        [
            runs.Group(name=name, reports=(documents.report(name, training=[10.0, 11.0]),))
            for name in "ab"
        ]
    ).rows
    assert few[1].phases["training"].ratio.high == math.inf

    titles = [plot.title for plot in throughput.plots(few)]

    assert "Ratio to A in training" in titles


def test_recorded_series_are_found_by_name_and_zeros_left_out():
    fields = "report/wl-stats/phases/training"
    series = {
        f"{fields}/sample_power_w": [300.0] * 7,
        f"{fields}/sample_stolen_cores": [0.0] * 7,
        f"{fields}/sample_segment": [0, 0, 0, 1, 1, 1, 1],
        f"{fields}/sample_<b>": [1.0] * 7,
    }

    found = telemetry.series(row(changes=series).group.first, "training")

    assert list(found) == ["sample_power_w"]


def test_energies_of_samples_have_their_unit():
    fields = "report/wl-stats/phases/training"

    (plot,) = telemetry.plots([row(changes={f"{fields}/sample_energy_j": [500.0] * 7})])

    assert plot.caption == "Means: energy of a sample, J: 500."


def scaled(*points):
    reports = [
        documents.report(
            f"{devices}-{batch}.json",
            changes={
                "app/devices": documents.GPU * devices,
                "report/wl-stats/batch_size_per_device": batch,
            },
        )
        for devices, batch in points
    ]
    return ratios.compare([runs.Group(name=r.source, reports=(r,)) for r in reports]).rows


def test_rows_that_differ_in_devices_alone_are_a_scaling_figure():
    by_devices = scaling.plots(scaled((1, 4), (2, 4), (4, 4)), [])
    by_batch = scaling.plots(scaled((1, 2), (1, 4)), [])
    neither = scaling.plots(scaled((1, 2), (2, 4)), [])

    assert [plot.name for plot in by_devices] == [
        "scaling-num-devices-training",
        "scaling-num-devices-inference",
    ]
    assert "Dashed" in by_devices[0].caption
    assert {plot.name for plot in by_batch} == {
        "scaling-batch-size-training",
        "scaling-batch-size-inference",
    }
    assert neither == []
