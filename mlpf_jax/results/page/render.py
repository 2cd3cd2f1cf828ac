"""The report page: one HTML file that needs nothing else and asks nobody for anything.

No script: the choice of light or dark is a style sheet's, downloads are data: links, and a
content security policy forbids whatever else a file could have smuggled in. The same results make
the same bytes; the page bears no date but those of the runs.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from mlpf_jax.results import compare, comparison_tables, escaping, facts, talk
from mlpf_jax.results import tables as tables_lib
from mlpf_jax.results.page import (
    answer,
    conditions,
    downloads,
    inputs,
    learning,
    roof,
    scaling,
    sheet,
    startup,
    steps,
    telemetry,
    throughput,
)

_FOLDER = Path(__file__).parent
_MOST_OPEN_ROWS = 3  # rows whose single samples are shown at once; the others unfold
_NUMBER = re.compile(r"[-+\u2212]?\d|[-\u2013]?$|unbounded|refused|baseline|too few")
_MARKS = re.compile(r"((?: \[\d+\])+)$")
_FOOTNOTE = re.compile(r"\[(\d+)\] (.*)", re.DOTALL)
_SHORT = 24  # letters of a cell that is not broken into lines
_TITLE = "MLPF benchmark"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; one without content is left out."""

    name: str  # its anchor
    title: str
    lead: str
    plots: tuple[sheet.Plot, ...] = ()
    folded_plots: tuple[sheet.Plot, ...] = ()
    tables: tuple[tables_lib.Table, ...] = ()
    folded_tables: tuple[tables_lib.Table, ...] = ()
    footnotes: tuple[tuple[str, str], ...] = ()  # number and text
    notes: tuple[str, ...] = ()
    has_legend: bool = True  # the figures name rows by their labels

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the lead would be shown."""
        return not (self.plots or self.tables or self.notes)


def page(found: inputs.Inputs, *, title: str = _TITLE, run_noise: float = compare.RUN_NOISE) -> str:
    """Returns the page of some results. The first group is the baseline of all ratios."""
    comparison = compare.compare(found.groups, run_noise=run_noise)
    rows = comparison.rows
    reports = [report for row in rows for report in row.group.reports]
    documents = [(r.label, one.source, one.document) for r in rows for one in r.group.reports]
    documents += [("study", file.source, file.document) for file in found.scaling_files]
    sections = [section for section in _sections(comparison, found) if not section.is_empty]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    return environment.get_template("template.html.j2").render(
        numeric=numeric_columns,
        cell=cell,
        style_of=style_of,
        markup=markupsafe.Markup,
        title=title,
        style=markupsafe.Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        subtitle=_subtitle(reports, len(found.scaling_files)),
        sentences=answer.sentences(comparison) if rows else (),
        refusals=tuple(dict.fromkeys(compare.refusals(comparison))),
        cards=answer.cards(comparison, sheet.NUM_COLOURS),
        sections=sections,
        downloads=downloads.downloads(documents),
    )


def numeric_columns(table: tables_lib.Table) -> list[bool]:
    """Returns for each column whether all its cells are numbers, or say why there is none."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(_NUMBER.match(text) for text in column) and any(column) for column in columns]


def cell(text: str) -> tuple[str, list[str]]:
    """Returns a cell without the footnote marks at its end, and their numbers."""
    marks = _MARKS.search(text)
    if marks is None:
        return "\u2013" if text == "-" else text, []
    return text[: marks.start()], re.findall(r"\d+", marks[1])


def style_of(text: str, is_number: bool) -> str:
    """Returns the classes of a cell: where it stands, whether it may be broken, its verdict."""
    classes = ["number"] if is_number else []
    if len(text) <= _SHORT:
        classes.append("short")
    if text in ("faster", "slower", "refused", "baseline"):
        classes.append(text)
    return " ".join(classes)


def _clean(value: Any) -> Any:
    """Of every text that a file or a user gave, only what can be seen goes onto the page."""
    if isinstance(value, markupsafe.Markup) or not isinstance(value, str):
        return value
    if value.startswith("data:"):
        return value
    return escaping.clean(value).replace(" -> ", " \u2192 ")


def _sections(comparison: compare.Comparison, found: inputs.Inputs) -> list[Section]:
    rows = comparison.rows
    traces = steps.plots(rows)
    return [
        _throughput(comparison),
        Section(
            name="steps",
            title="Step by step",
            lead="A sample is some steps dispatched back to back and one wait; its time is divided "
            "by the steps.",
            plots=_flat(traces[:_MOST_OPEN_ROWS]),
            folded_plots=_flat(traces[_MOST_OPEN_ROWS:]),
            tables=(conditions.certainty(rows),) if rows else (),
            notes=_CERTAINTY_NOTES if rows else (),
        ),
        Section(
            name="startup",
            title="Before the steady state",
            lead="What a run pays once. Medians over the runs of a row.",
            plots=tuple(startup.plots(rows)),
        ),
        Section(
            name="roof",
            title="Against the compute roof",
            lead="How much of the arithmetic that the devices could do was done.",
            plots=tuple(roof.plots(rows)),
            notes=_peak_sources(rows),
        ),
        Section(
            name="learning",
            title="Loss and accuracy",
            lead="Speed counts only if the network still learns.",
            plots=tuple(learning.plots(rows)),
        ),
        Section(
            name="scaling",
            title="Scaling",
            lead="Throughput against the number of devices and the batch: rows that differ in "
            "nothing else of the network and the machine, and scaling studies.",
            plots=tuple(scaling.plots(rows, found.scaling_files)),
            notes=tuple(note for file in found.scaling_files for note in file.notes),
            has_legend=False,
        ),
        _telemetry(rows),
        _environment(rows),
        _published(rows),
    ]


_CERTAINTY_NOTES = (
    "independent: as many uncorrelated samples would say as much. of warm-up: samples before the "
    "steady state, which begins by a fixed rule. spread: 1.4826 times the median absolute "
    "deviation, a standard deviation if noise is normal. drift: by the test of Mann and Kendall.",
)


def _throughput(comparison: compare.Comparison) -> Section:
    """The tables are those of tools.compare, their notes in two: numbered ones, and the others."""
    if not comparison.rows:
        return Section(name="throughput", title="Throughput", lead="")
    view = comparison_tables.view(comparison)
    marked = [_FOOTNOTE.fullmatch(note) for note in view.notes]
    return Section(
        name="throughput",
        title="Throughput",
        lead="Real events per second in the steady state, all devices together; compilation and "
        "warm-up left out.",
        plots=tuple(throughput.plots(comparison.rows)),
        tables=view.tables,
        footnotes=tuple((mark[1], mark[2]) for mark in marked if mark),
        notes=tuple(n for n, mark in zip(view.notes, marked, strict=True) if mark is None),
    )


def _telemetry(rows: Sequence[compare.Row]) -> Section:
    found = telemetry.plots(rows)
    machines = conditions.machines(rows)
    return Section(
        name="telemetry",
        title="The machine meanwhile",
        lead="What was recorded beside the samples. Cores of others were busy with other "
        "processes; stolen ones were given by the hypervisor to other machines. What was 0 "
        "throughout is not drawn.",
        plots=tuple(found[: 2 * _MOST_OPEN_ROWS]),
        folded_plots=tuple(found[2 * _MOST_OPEN_ROWS :]),
        tables=(machines,) if machines else (),
    )


def _environment(rows: Sequence[compare.Row]) -> Section:
    differing = conditions.differing(rows)
    everything = (conditions.everything(rows),) if rows else ()
    return Section(
        name="environment",
        title="Environment",
        lead="What differs between the rows, so that a change of the hardware is told from one of "
        "the compiler."
        if differing
        else "What the result was measured with.",
        tables=(differing,) if differing else everything,
        folded_tables=everything if differing else (),
    )


def _published(rows: Sequence[compare.Row]) -> Section:
    reports = [report for row in rows for report in row.group.reports]
    trained = [report for report in reports if report.stats.get("val_accuracy")]
    if not trained:
        return Section(name="published", title="", lead="")
    view = talk.view(trained)
    return Section(
        name="published",
        title="Beside the figures published in 2022",
        lead="The tables of the benchmark\u2019s first talk, with the runs of this page. Published "
        "figures are a reference: other events, other software, not measured here.",
        tables=view.tables,
        notes=view.notes,
        has_legend=False,
    )


def _flat(lists: Sequence[Sequence[sheet.Plot]]) -> tuple[sheet.Plot, ...]:
    return tuple(plot for plots in lists for plot in plots)


def _peak_sources(rows: Sequence[compare.Row]) -> tuple[str, ...]:
    """Returns where the peaks are from, as the files say."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        fields = row.group.first.stats["phases"].values()
        for source in dict.fromkeys(facts.at(phase, "share_of_peak", "source") for phase in fields):
            if isinstance(source, str):
                labels.setdefault(source, []).append(row.label)
    return tuple(f"Peak of {', '.join(rows)}: {source}" for source, rows in labels.items())


def _subtitle(reports: Sequence[Any], num_studies: int) -> str:
    parts = []
    if reports:
        machines = {report.machine for report in reports}
        days = sorted({str(report.stats["started_at"])[:10] for report in reports})
        versions = sorted({str(report.document["app"]["version"]) for report in reports})
        parts = [
            _count(len(reports), "run"),
            _count(len(machines), "machine"),
            f"measured {' to '.join(dict.fromkeys([days[0], days[-1]]))}",
            f"mlpf_jax {', '.join(versions)}",
        ]
    if num_studies:
        parts.append(_count(num_studies, "scaling study", "scaling studies"))
    return " \u00b7 ".join(parts)


def _count(number: int, word: str, several: str = "") -> str:
    return f"{number} {word if number == 1 else several or word + 's'}"
