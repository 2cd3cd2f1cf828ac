"""The report page: one self-contained HTML file that makes no network requests.

It has no scripts: the style sheet selects light or dark mode, downloads are data: links, and a
content security policy blocks anything that a result file could inject. The same results give the
same bytes; the only dates on the page are those of the runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from mlpf_jax.compare import ratios
from mlpf_jax.page import answer, cells, contents, downloads, sections, sheet
from mlpf_jax.render import escaping, tables
from mlpf_jax.report import reader

_FOLDER = Path(__file__).parent
_TITLE = "MLPF benchmark"
_MOST_OPEN_CARDS = 6


def page(
    found: contents.Inputs, *, title: str = _TITLE, run_noise: float = ratios.RUN_NOISE
) -> str:
    """Returns the page for some results. The first group is the baseline of all ratios."""
    comparison = ratios.compare(found.groups, run_noise=run_noise)
    rows = comparison.rows
    reports = [report for row in rows for report in row.group.reports]
    documents = [(r.label, one.source, one.document) for r in rows for one in r.group.reports]
    documents += [("study", file.source, file.document) for file in found.studies]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    return environment.get_template("template.html.j2").render(
        cells=cells,
        count=tables.count,
        markup=markupsafe.Markup,
        title=title,
        style=markupsafe.Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        subtitle=_subtitle(reports, len(found.studies)),
        sentences=(
            *(answer.sentences(comparison) if rows else ()),
            *filter(None, [found.copies_note]),
        ),
        most_open_cards=_MOST_OPEN_CARDS,
        cards=answer.cards(comparison, sheet.NUM_COLOURS),
        sections=sections.sections(comparison, found),
        downloads=downloads.downloads(documents),
    )


def _clean(value: Any) -> Any:
    """Removes invisible characters from all texts that come from files or the user."""
    if isinstance(value, markupsafe.Markup) or not isinstance(value, str):
        return value
    return escaping.clean(value).replace(" -> ", " \u2192 ")


def _subtitle(reports: Sequence[reader.Report], num_studies: int) -> str:
    parts = []
    if reports:
        machines = {report.hardware for report in reports}
        days = sorted({str(report.stats["started_at"])[:10] for report in reports})
        versions = sorted({str(report.document["app"]["version"]) for report in reports})
        parts = [
            tables.count(len(reports), "run"),
            tables.count(len(machines), "machine"),
            f"measured {' to '.join(dict.fromkeys([days[0], days[-1]]))}",
            f"mlpf_jax {', '.join(versions)}",
        ]
    if num_studies:
        parts.append(tables.count(num_studies, "study", "studies"))
    return " \u00b7 ".join(parts)
