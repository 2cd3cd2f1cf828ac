"""Draws a validation: one page of panels per set of events, with Matplotlib.

Lines are measured, points are published, and a second set is dashed. Needs the extra `plots`.
"""

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import axes, figure
from matplotlib.backends import backend_pdf

from mlpf_jax import keeping
from mlpf_jax.events.validation import agreement, panels, published, survey, tables

_NUM_ROWS, _NUM_COLUMNS = 5, 5
_SIZE_INCHES = (17.0, 14.5)
_PNG_DPI = 80
_STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.2,
}
_Panel = Callable[[axes.Axes, panels.Sets], None]


def draw(measured: survey.Measurement, other: survey.Measurement | None = None) -> figure.Figure:
    """Returns the page of one set of events."""
    sets = panels.Sets(
        measured=measured, other=other, published=published.of_process(measured.process)
    )
    with mpl.rc_context(_STYLE):
        page = figure.Figure(figsize=_SIZE_INCHES, layout="constrained")
        page.suptitle(_title(sets), fontsize=10, x=0.01, ha="left")
        grid = page.subplots(_NUM_ROWS, _NUM_COLUMNS)
        for panel, draw_panel in zip(grid.flat, _panels(), strict=True):
            draw_panel(panel, sets)
        page.draw_without_rendering()
        page.set_layout_engine("none")  # the layout is final: do not recompute it
    return page


def check_path(path: Path) -> None:
    """Checks in advance whether a page can be written to a path.

    Raises:
        ValueError: if the path does not end in .pdf or .png, or its folder does not exist.
        OSError: if the path cannot be written.
    """
    if path.suffix not in {".pdf", ".png"}:
        raise ValueError(f"{path}: the name of a page must end in .pdf or .png.")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}.")
    keeping.try_file(path)


def write(path: Path, pages: Sequence[figure.Figure]) -> list[Path]:
    """Writes pages to one PDF, or each to a PNG named path-1.png and so on; returns the files.

    Raises:
        OSError: if they cannot be written.
    """
    with mpl.rc_context(_STYLE):
        if path.suffix == ".pdf":
            contents = {path: _pdf(pages)}
        else:
            names = [path.with_stem(f"{path.stem}-{i + 1}") for i in range(len(pages))]
            contents = dict(zip(names, map(_png, pages), strict=True))
    for file, content in contents.items():
        keeping.write_file(file, content)
    return list(contents)


def _pdf(pages: Sequence[figure.Figure]) -> bytes:
    buffer = io.BytesIO()
    with backend_pdf.PdfPages(buffer, metadata={"CreationDate": None}) as document:
        for page in pages:
            document.savefig(page)
    return buffer.getvalue()


def _png(page: figure.Figure) -> bytes:
    buffer = io.BytesIO()
    page.savefig(buffer, format="png", dpi=_PNG_DPI)
    return buffer.getvalue()


def _title(sets: panels.Sets) -> str:
    second = f"   (dashed: {sets.other.title})" if sets.other else ""
    counts = tables.count(agreement.judge(sets.measured))
    return f"{sets.measured.title}{second}\n{counts} Lines: measured. Points: published."


def _panels() -> list[_Panel]:
    spectra = [
        functools.partial(panels.draw_spectra, side=side, variable=variable)
        for side in ("targets", "candidates")
        for variable in ("pt", "eta", "energy")
    ]
    return [
        functools.partial(
            panels.draw_numbers, title="elements per event", names={"elements": panels.BLUE}
        ),
        functools.partial(
            panels.draw_numbers,
            title="tracks and towers per event",
            names={"tracks": panels.BLUE, "towers": panels.ORANGE},
        ),
        functools.partial(panels.draw_multiplicity, name="charged_hadron"),
        functools.partial(panels.draw_multiplicity, name="neutral_hadron"),
        panels.draw_shares,
        *(functools.partial(panels.draw_inputs, variable=v) for v in ("pt", "eta", "energy")),
        *(functools.partial(panels.draw_ratio, variable=v) for v in ("pt", "eta")),
        *spectra[:3],
        functools.partial(
            panels.draw_responses,
            title="response of tracks: pT",
            keys=[("charged_hadron", "pt"), ("electron", "pt"), ("muon", "pt")],
        ),
        functools.partial(
            panels.draw_responses,
            title="response of towers: energy",
            keys=[("neutral_hadron", "energy"), ("photon", "energy")],
        ),
        *spectra[3:],
        panels.draw_confusion,
        functools.partial(
            panels.draw_numbers,
            title="missing pT [GeV]",
            names={"targets missing pT": panels.BLUE, "candidates missing pT": panels.RED},
        ),
        functools.partial(panels.draw_efficiency, key=("charged_hadron", "pt")),
        functools.partial(panels.draw_efficiency, key=("charged_hadron", "eta")),
        functools.partial(panels.draw_efficiency, key=("neutral_hadron", "energy")),
        functools.partial(panels.draw_efficiency, key=("photon", "eta")),
        panels.draw_jets,
    ]
