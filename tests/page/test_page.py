"""The page is consistent, shows content of files as text only, and states correct results."""

import base64
import copy
import gzip
import html.parser
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.compare import ratios, runs
from mlpf_jax.page import answer, cells, conditions, contents, downloads
from mlpf_jax.render import tables
from mlpf_jax.report import reader
from mlpf_jax.study import documents as studies
from tests.report import documents

render = pytest.importorskip("mlpf_jax.page.html", exc_type=ImportError)

EVIL = (
    "\"'><script>alert(1)</script></style></svg><img src=http://evil.example/x> "
    "$\\frac{1}{2}$ \x1b[31m\u202e"
)
WARM_UP = (*(20.0,) * 2, *(10.0 + 0.01 * (i % 7) for i in range(30)))
STUDY = {
    "format": studies.FORMAT,
    "format_version": 1,
    "is_emulated": True,
    "studies": {
        "strong": {
            "axis": "num_devices",
            "is_emulated": True,
            "rows": [
                {
                    "x": devices,
                    "rates": {"training": {"value": 10.0 * devices, "low": 9.0, "high": None}},
                    "efficiencies": {"training": {"value": 1.0, "low": 0.9, "high": 1.1}},
                    "accuracy": {"value": 0.9, "low": 0.8, "high": 1.0},
                }
                for devices in (1, 2)
            ],
        }
    },
    "notes": ["The batch does not change it."],
}


class Page(html.parser.HTMLParser):
    """The elements of a page, in order, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def group(name="a.json", **parts):
    return runs.Group(name=name, reports=(documents.report(name, **parts),))


def report_page(*groups, files=(), **options):
    return render.page(contents.Inputs(groups=groups, studies=files), **options)


def changes(text):
    """A report with all free text fields set to one text."""
    return {
        "app/environment/cpu": text,
        "app/environment/git_commit": text,
        "app/environment/kernel": text,
        "app/environment/runtime/allocator": text,
        "app/environment/versions/jax": text,
        "app/version": f"v{text}",
        "app/devices": [{"device_id": "0", "name": text, "platform": "gpu"}],
        "report/wl-stats/doubts": [text],
        "report/wl-stats/started_at": text,
        "report/wl-stats/phases/training/share_of_peak": {"share": 0.5, "source": text},
        "report/wl-stats/machine": {
            "before": {"governors": [text], "core_mhz": text},
            "after": {"governors": [text], "core_mhz": 1.0},
        },
        "run_info/extra_arguments": text,
        "run_info/config/model": {text: text},
    }


@pytest.fixture(scope="module")
def two_groups():
    steady = {"training": WARM_UP, "changes": {}}
    fields = "report/wl-stats/phases/training"
    steady["changes"][f"{fields}/num_unsteady_samples"] = 2
    steady["changes"][f"{fields}/sample_other_cores"] = [0.5] * len(WARM_UP)
    steady["changes"][f"{fields}/sample_stolen_cores"] = [0.0] * len(WARM_UP)
    slower = [rate / 1.5 for rate in documents.RATES]
    known = {f"{fields}/share_of_peak": {"share": 0.25}}
    return group("a.json", **steady), group("b.json", training=slower, changes=known)


@pytest.fixture(scope="module")
def page(two_groups):
    file = studies.StudyFile(source="study.json", document=STUDY)
    return report_page(*two_groups, files=(file,), title="A & B")


@pytest.fixture
def no_pictures(monkeypatch):
    """Figures are made, but not drawn, which takes most of the time of a page."""
    figure = pytest.importorskip("matplotlib.figure")
    empty = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, file, **_: file.write(empty))


def test_every_reference_within_the_page_leads_somewhere_and_no_id_is_there_twice(page):
    found = Page(page)
    ids = found.values("id")
    wanted = {link[1:] for link in found.values("href") if link.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    wanted |= {name for names in found.values("aria-labelledby") for name in names.split()}

    assert len(ids) == len(set(ids))
    assert wanted <= set(ids)


def test_the_page_asks_nobody_for_anything_and_runs_no_script(page):
    found = Page(page)
    addresses = found.values("href") + found.values("src")

    assert "script" not in dict(found.elements)
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"@import|url\((?!#)|\son\w+=", page)
    policies = [a["content"] for tag, a in found.elements if "http-equiv" in a and tag == "meta"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")
    assert "script-src" not in policies[0]


def test_every_variable_of_a_figure_or_rule_is_defined_in_the_style_sheet(page):
    defined = set(re.findall(r"(--[\w-]+):", page))

    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= defined
    assert "#5e51" not in page  # what stands for the palette while a figure is drawn


def test_content_of_a_file_is_shown_as_text_and_never_as_markup():
    harmless = report_page(group("x.json", changes=changes("x")), title="x")
    name = EVIL.replace("/", "")

    evil = report_page(group(f"{name}.json", changes=changes(EVIL)), title=EVIL)

    assert [tag for tag, _ in Page(evil).elements] == [tag for tag, _ in Page(harmless).elements]
    assert all(not key.startswith("on") for _, found in Page(evil).elements for key in found)
    assert "<script>alert(1)</script>" in "".join(Page(evil).text)
    assert "\x1b" not in evil
    assert "\u202e" not in evil


def test_a_text_that_begins_like_a_download_is_cleaned_all_the_same(no_pictures):
    text = report_page(group(), title=f"data:{EVIL}")

    assert "\u202e" not in text
    assert "\x1b" not in text


def test_the_same_results_make_the_same_bytes_whatever_matplotlib_is_set_to(two_groups, page):
    mpl = pytest.importorskip("matplotlib")
    file = studies.StudyFile(source="study.json", document=STUDY)

    with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.facecolor": "red"}):
        again = report_page(*two_groups, files=(file,), title="A & B")

    assert again == page


def test_the_parts_that_were_asked_for_are_there(page):
    found = Page(page)
    headings = re.findall(r'<h2 id="([a-z]+)-heading">', page)
    figures = re.findall(r'<svg [^>]*aria-labelledby="([\w-]+)-title ', page)

    assert headings == [
        *("throughput", "steps", "startup", "roof", "learning", "scaling", "telemetry"),
        *("environment", "published", "files"),
    ]
    assert {"throughput-training", "ratio-training", "steps-A-training", "steps-B-inference"} <= {
        *figures
    }
    assert {"startup-training", "roof-training", "learning-accuracy"} <= {*figures}
    assert "roof-inference" not in figures, "no peak is known"
    assert {"study-1-strong-rates", "study-1-strong-efficiencies"} <= {*figures}
    assert "telemetry-A-training" in figures
    assert "telemetry-B-training" not in figures
    assert "The batch does not change it." in "".join(found.text)


@pytest.mark.parametrize("other_has_it", [False, True])
def test_a_compilation_that_was_not_measured_is_left_out(no_pictures, other_has_it):
    phases = "report/wl-stats/phases"
    from_cache = {f"{phases}/{name}/compile_s": None for name in ("training", "inference")}
    groups = [group("a.json", changes=from_cache), group("b.json", changes={})][: 1 + other_has_it]

    text = report_page(*groups)

    assert text.count("compilation</dt>") == other_has_it
    assert ("Before the steady state of training" in text) == other_has_it


def test_the_compilation_of_one_step_is_not_that_of_both():
    from_cache = {"report/wl-stats/phases/training/compile_s": None}
    rows = ratios.compare([group(changes=from_cache)])

    (card,) = answer.cards(rows, 7)

    assert "compilation" not in dict(card.facts)


def test_a_page_of_a_study_alone_has_no_rows(page):
    file = studies.StudyFile(source="study.json", document=STUDY)

    alone = report_page(files=(file,))

    assert re.findall(r'<h2 id="([a-z]+)-heading">', alone) == ["scaling", "files"]


def test_studies_of_similar_names_have_figures_of_their_own(no_pictures):
    strong = STUDY["studies"]["strong"]
    names = ("a b", "a-b", "a_20_b", "a\u00e4b")
    file = studies.StudyFile(source="s", document=STUDY | {"studies": dict.fromkeys(names, strong)})

    ids = Page(report_page(files=(file,))).values("id")

    assert len(ids) == len(set(ids))


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5))
def test_a_download_gives_back_the_document(document):
    (found,) = downloads.downloads([("A", "x/y.json", document)])

    kind, _, packed = found.link.partition(",")
    assert kind == "data:application/json;base64"
    assert json.loads(base64.b64decode(packed)) == document
    assert found.file_name == "y.json"


def test_large_downloads_are_packed_and_left_out_when_the_page_is_full():
    document = {"values": np.random.default_rng(1).random(30_000).tolist()}

    found = downloads.downloads([(str(number), "y.json", document) for number in range(12)])

    kind, _, packed = found[0].link.partition(",")
    assert kind == "data:application/gzip;base64"
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == document
    assert found[0].file_name == "y.json.gz"
    assert found[-1].link is None
    assert sum(len(file.link or "") for file in found) < downloads.MOST_BYTES_IN_ALL + 1000


def test_a_download_too_long_for_browsers_is_left_out_alone():
    long = {"values": np.random.default_rng(1).random(130_000).tolist()}

    found = downloads.downloads([("A", "long.json", long), ("B", "short.json", {})])

    assert found[0].link is None
    assert found[1].link


def compared(*rates, changes=None):
    groups = [group(f"{n}.json", training=r, inference=None) for n, r in enumerate(rates)]
    if changes:
        groups[-1] = group("last.json", training=rates[-1], inference=None, changes=changes)
    return ratios.compare(groups)


def test_the_answer_of_one_run_is_its_speed():
    assert answer.sentences(compared(documents.RATES)) == (
        "A (CPU, 1 core): training 10 events/s (95 % interval 9.924 to 10.08).",
    )


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_samples_have_no_interval(no_pictures, count):
    few = group(training=documents.RATES[:count], inference=None)

    text = "".join(Page(report_page(few)).text)

    assert f"{documents.RATES[0]:g} events/s (95 % interval unknown)." in text
    assert "95\u00a0%: unknown" in text
    assert not re.search(r"9\.\d+ to 10", text)


def test_the_answer_says_who_is_faster_and_who_cannot_be_told_apart():
    faster = [1.5 * rate for rate in documents.RATES]

    _, second, third = answer.sentences(compared(documents.RATES, faster, documents.RATES))

    assert second.startswith("B (CPU, 1 core) against A: training 1.5 times as fast (95 % interval")
    assert second.endswith("), faster.")
    assert "training is indistinguishable (ratio 1, 95 % interval" in third


def test_the_answer_gives_the_reason_where_no_ratio_may_be_taken():
    found = compared(documents.RATES, documents.RATES, changes={"run_info/precision": "bf16"})

    assert "no ratio of training (refused: another precision" in answer.sentences(found)[1]
    assert answer.cards(found, 7)[1].scores[0].ratio is None


def test_many_rows_are_counted():
    faster = [1.5 * rate for rate in documents.RATES]
    found = compared(documents.RATES, *[faster] * 3, *[documents.RATES] * 3)

    _, counted = answer.sentences(found)

    assert counted.startswith(
        "Training, 6 other rows: 3 faster than A, 3 indistinguishable from A. The fastest is B"
    )


def test_one_row_of_many_is_counted_in_the_singular(no_pictures):
    groups = [group(f"{n}.json", inference=None if n != 5 else documents.RATES) for n in range(7)]

    assert answer.sentences(ratios.compare(groups))[2].startswith("Inference, 1 other row: 1 not")
    assert ">1 more row<" in report_page(*groups)
    assert ">1 more figure<" in report_page(*groups[:4])


def test_cards_are_named_by_machine_or_by_file_where_machines_are_the_same():
    same = answer.cards(compared(documents.RATES, documents.RATES), 7)
    gpu = {"app/devices": documents.GPU}
    other = answer.cards(compared(documents.RATES, documents.RATES, changes=gpu), 7)

    assert [card.short_name for card in same] == ["0", "1"]
    assert [card.short_name for card in other] == ["CPU, 1 core", "1 x NVIDIA H200"]


def test_reasons_to_distrust_a_phase_are_one_warning():
    doubts = ["training: an interval 30 % wide", "training: a drift of 5 %", "memory was swapped"]
    found = compared(documents.RATES, changes={"report/wl-stats/doubts": doubts})

    (card,) = answer.cards(found, 7)

    assert card.warnings == (
        "unreliable measurement: memory was swapped",
        "training: an interval 30 % wide, a drift of 5 %",
    )


def test_only_what_differs_is_in_the_table_of_differences():
    changed = {"app/environment/versions/jax": "9.9"}
    found = compared(documents.RATES, documents.RATES, changes=changed)

    differing = conditions.differing(found.rows)

    assert [row[0] for row in differing.rows] == ["jax"]
    assert differing.rows[0][-1] == "9.9"
    assert len(conditions.everything(found.rows).rows) > 20


def test_a_column_is_of_numbers_if_every_cell_is_one_or_says_why_there_is_none():
    table = tables.Table(
        title="", columns=("a", "b", "c"), rows=(("x", "1.5", "refused"), ("2", "-", "3"))
    )

    assert cells.numeric_columns(table) == [False, True, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5 [2] [13]", ("1.5", ["2", "13"])),
        ("file [1].json", ("file [1].json", [])),
        ("-", ("\u2013", [])),
    ],
)
def test_footnote_marks_are_told_from_text(text, expected):
    assert cells.cell(text) == expected


def test_folders_may_hold_runs_and_studies(no_pictures, tmp_path):
    for name, hour in (("one", 10), ("two", 11), ("copy", 11)):
        started = f"2022-09-20T{hour}:00:00+00:00"
        documents.write(tmp_path / f"{name}.json", changes={"report/wl-stats/started_at": started})
    (tmp_path / "study.json").write_text(json.dumps(STUDY))

    found = contents.read([tmp_path])
    render = pytest.importorskip("mlpf_jax.page.html")

    assert [len(group.reports) for group in found.groups] == [2]
    assert found.copies_note is not None
    assert "counts once" in render.page(found)
    assert [file.source for file in found.studies] == [str(tmp_path / "study.json")]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("notes", 3),
        ("format_version", 9),
        ("studies", {"weak": {}}),
        ("studies", {"weak": {"axis": "num_devices", "rows": [{"x": "1"}]}}),
        ("studies", {"weak": {"axis": "x", "rows": [{"x": 1, "rates": {"t": {"value": 1e99}}}]}}),
    ],
)
def test_a_damaged_study_is_refused_in_one_line_with_its_path(tmp_path, path, value):
    document = copy.deepcopy(STUDY)
    document[path] = value
    file = tmp_path / "study.json"
    file.write_text(json.dumps(document))

    with pytest.raises(ValueError, match="damaged") as caught:
        studies.read(file)

    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_odd_values_of_optional_parts_do_not_break_the_page():
    odd = {
        "report/wl-stats/machine": {"before": {"swapped_pages": 10**400}, "after": {}},
        "report/wl-stats/val_loss": [1e300 * 1e300],
        "report/wl-stats/train_loss": [-1.0, 2.0],
        "report/wl-stats/phases/training/sample_odd": ["x", {}, None, 1, 1e300, True, -2],
        "report/wl-stats/phases/training/sample_short": [1],
        "report/wl-stats/phases/training/flops_per_s": 0.0,
        "report/wl-stats/phases/training/share_of_peak": {"share": 0.0, "source": []},
    }

    odder = {"report/wl-stats/machine": {"before": [], "after": {}}}

    found = report_page(group(changes=odd), group("b.json", changes=odder))

    assert "telemetry-A-training" in found
    assert "roof-training" not in found


def test_reports_of_before_the_load_was_recorded_make_a_page():
    old = documents.document()
    report = reader.from_document(old, "old.json")

    assert "<h2 id=" in report_page(runs.Group(name="old.json", reports=(report,)))
