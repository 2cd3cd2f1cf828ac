"""The sections of the page below the cards: figures, tables and notes on one topic each."""

import dataclasses
import re
from collections.abc import Sequence

from mlpf_jax.compare import ratio_tables, ratios, talk
from mlpf_jax.page import (
    conditions,
    contents,
    energy,
    learning,
    roof,
    sensors,
    sheet,
    startup,
    steps,
    study_figures,
    telemetry,
    throughput,
)
from mlpf_jax.render import tables as tables_lib
from mlpf_jax.report import facts

_MOST_OPEN_ROWS = 3  # rows with visible samples; the others are collapsed
_FOOTNOTE = re.compile(r"\[(\d+)\] (.*)", re.DOTALL)
_CERTAINTY_NOTES = (
    "independent: the equivalent number of uncorrelated samples. of warm-up: samples before the "
    "steady state, which begins by a fixed rule. spread: 1.4826 times the median absolute "
    "deviation, a standard deviation if noise is normal. drift: by the test of Mann and Kendall.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page; sections without content are omitted."""

    name: str  # its anchor
    title: str
    lead: str
    plots: tuple[sheet.Plot, ...] = ()
    folded_plots: tuple[sheet.Plot, ...] = ()
    tables: tuple[tables_lib.Table, ...] = ()
    folded_tables: tuple[tables_lib.Table, ...] = ()
    footnotes: tuple[tuple[str, str], ...] = ()  # number and text
    notes: tuple[str, ...] = ()
    has_legend: bool = True  # the figures refer to rows by their labels

    @property
    def is_empty(self) -> bool:
        """Whether only the lead would be shown."""
        return not (self.plots or self.tables or self.notes)


def sections(comparison: ratios.Comparison, found: contents.Inputs) -> list[Section]:
    """Returns the sections with content, in the order of the page."""
    rows = comparison.rows
    every = [
        _throughput(comparison),
        _steps(rows),
        Section(
            name="startup",
            title="Before the steady state",
            lead="Costs that occur once per run. Medians over the runs of a row.",
            plots=tuple(startup.plots(rows)),
        ),
        Section(
            name="roof",
            title="Against the compute roof",
            lead="The share of the devices' peak arithmetic rate that was used.",
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
            "nothing else of the network and the machine, and studies.",
            plots=tuple(study_figures.plots(rows, found.studies)),
            notes=tuple(note for file in found.studies for note in file.notes),
            has_legend=False,
        ),
        _energy(rows),
        _telemetry(rows),
        _environment(rows),
        _published(rows),
    ]
    return [section for section in every if not section.is_empty]


def _throughput(comparison: ratios.Comparison) -> Section:
    """The tables of tools.compare, with numbered notes as footnotes."""
    if not comparison.rows:
        return Section(name="throughput", title="Throughput", lead="")
    view = ratio_tables.view(comparison)
    marked = [_FOOTNOTE.fullmatch(note) for note in view.notes]
    return Section(
        name="throughput",
        title="Throughput",
        lead="Real events per second in the steady state on all devices together, without "
        "compilation and warm-up.",
        plots=tuple(throughput.plots(comparison.rows)),
        tables=view.tables,
        footnotes=tuple((mark[1], mark[2]) for mark in marked if mark),
        notes=tuple(n for n, mark in zip(view.notes, marked, strict=True) if mark is None),
    )


def _steps(rows: Sequence[ratios.Row]) -> Section:
    traces = steps.plots(rows)
    return Section(
        name="steps",
        title="Step by step",
        lead="A sample is some steps dispatched back to back and one wait; its time is divided "
        "by the steps.",
        plots=_flat(traces[:_MOST_OPEN_ROWS]),
        folded_plots=_flat(traces[_MOST_OPEN_ROWS:]),
        tables=(conditions.certainty(rows),) if rows else (),
        notes=_CERTAINTY_NOTES if rows else (),
    )


def _energy(rows: Sequence[ratios.Row]) -> Section:
    found = energy.table(rows)
    return Section(
        name="energy",
        title="Energy and cost",
        lead="Joules over exactly the timed windows of the steady state, by counters of the "
        "devices, and the cost at the price that the run was given. Net is without the energy "
        "that the idle devices would have used.",
        plots=tuple(energy.plots(rows)),
        tables=(found,) if found else (),
        notes=energy.unknown(rows),
    )


def _telemetry(rows: Sequence[ratios.Row]) -> Section:
    found = [*sensors.plots(rows), *telemetry.plots(rows)]
    found_tables = (conditions.processes(rows), conditions.machines(rows))
    return Section(
        name="telemetry",
        title="The machine meanwhile",
        lead="Sensors read once a second, and values recorded with each sample. Cores of others "
        "were busy with other processes; stolen cores were given by the hypervisor to other "
        "machines. Values of samples that were always 0 are not drawn.",
        plots=tuple(found[: 2 * _MOST_OPEN_ROWS]),
        folded_plots=tuple(found[2 * _MOST_OPEN_ROWS :]),
        tables=tuple(table for table in found_tables if table is not None),
    )


def _environment(rows: Sequence[ratios.Row]) -> Section:
    differing = conditions.differing(rows)
    everything = (conditions.everything(rows),) if rows else ()
    return Section(
        name="environment",
        title="Environment",
        lead="What differs between the rows, to distinguish a change of the hardware from one of "
        "the compiler."
        if differing
        else "What the result was measured with.",
        tables=(differing,) if differing else everything,
        folded_tables=everything if differing else (),
    )


def _published(rows: Sequence[ratios.Row]) -> Section:
    reports = [report for row in rows for report in row.group.reports]
    trained = [report for report in reports if report.stats.get("val_accuracy")]
    if not trained:
        return Section(name="published", title="", lead="")
    view = talk.view(trained)
    return Section(
        name="published",
        title="Comparison with the figures published in 2022",
        lead="The tables of the benchmark\u2019s first talk, with the runs of this page. Published "
        "figures are a reference: other events, other software, not measured here.",
        tables=view.tables,
        notes=view.notes,
        has_legend=False,
    )


def _flat(lists: Sequence[Sequence[sheet.Plot]]) -> tuple[sheet.Plot, ...]:
    return tuple(plot for plots in lists for plot in plots)


def _peak_sources(rows: Sequence[ratios.Row]) -> tuple[str, ...]:
    """Returns the sources of the peak rates that the files name."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        fields = row.group.first.stats["phases"].values()
        sources = [facts.at(phase, "share_of_peak", "source") for phase in fields]
        for source in dict.fromkeys(one for one in sources if isinstance(one, str)):
            labels.setdefault(source, []).append(row.label)
    return tuple(f"Peak of {', '.join(rows)}: {source}" for source, rows in labels.items())
