"""The tables of a validation as text, for a terminal of 130 columns."""

from collections.abc import Sequence

import numpy as np

from mlpf_jax.events.validation import differences as comparison
from mlpf_jax.events.validation import published, verdicts

_WIDTH = 54


def table(rows: Sequence[verdicts.Row]) -> str:
    """Returns the table of measured and published quantities, with the number of each verdict."""
    lines = [
        f"{'':{_WIDTH}s} {'measured':>19s} {'published':>19s} {'difference':>10s} {'band':>8s}",
    ]
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            lines += ["", group]
        lines.append(_line(row))
    return "\n".join([*lines, "", count(rows), *_notes(rows)])


def count(rows: Sequence[verdicts.Row]) -> str:
    """Returns a sentence with the number of quantities per verdict."""
    num = {verdict: sum(row.verdict is verdict for row in rows) for verdict in verdicts.Verdict}
    judged = len(rows) - num[verdicts.Verdict.UNPUBLISHED]
    return (
        f"{judged} quantities have a reference: {num[verdicts.Verdict.INSIDE]} inside their band, "
        f"{num[verdicts.Verdict.OUTSIDE]} outside, {num[verdicts.Verdict.UNDECIDED]} need more "
        f"events; {num[verdicts.Verdict.UNPUBLISHED]} have no reference."
    )


def difference_table(differences: Sequence[comparison.Difference]) -> str:
    """Returns the comparison table of two sets."""
    lines = [f"{'':{_WIDTH}s} {'first':>19s} {'second':>19s} {'test':>18s} {'p':>8s}"]
    lines += [_difference_line(d) for d in differences]
    num = sum(d.is_significant for d in differences)
    return "\n".join(
        [*lines, "", f"{num} of {len(differences)} quantities differ (p below 0.001)."]
    )


def explanation() -> str:
    """Explains the bands and gives the sources of the published numbers."""
    lines = [
        "Bands: 3 standard errors and 2 % for multiplicities and shapes of spectra, 12 % for "
        "leptons and other rare objects,",
        "0.01 for rates; and half of the last digit of what is published with two. undecided: "
        "outside by less than 3 standard errors.",
        "Published:",
    ]
    return "\n".join(
        lines + [f"  {what}: {source}" for what, source in published.sources().items()]
    )


def _line(row: verdicts.Row) -> str:
    text = f"  {_words(row.quantity):{_WIDTH - 2}s} {_with_error(row.measured, row.error):>19s}"
    if row.published is None:
        return f"{text} {'-':>19s}"
    digits = _decimals(row.error)
    known = f" [{row.shown_known}]" if row.shown_known else ""
    return (
        f"{text} {_with_error(row.published, row.published_error, digits):>19s} "
        f"{row.difference:+10.{digits}f} {row.half_width:8.{digits}f} {row.verdict.value}{known}"
    )


def _difference_line(d: comparison.Difference) -> str:
    sides = (
        f"{_with_error(d.first, d.first_error):>19s} {_with_error(d.second, d.second_error):>19s}"
    )
    verdict = " differs" if d.is_significant else ""
    return f"{_words(d.quantity):{_WIDTH}s} {sides} {d.test:>18s} {d.p_value:8.2g}{verdict}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _notes(rows: Sequence[verdicts.Row]) -> list[str]:
    shown = sorted({row.shown_known for row in rows} - {0})
    return [f"[{number}] {verdicts.KNOWN_DIFFERENCES[number]}" for number in shown]


def _with_error(value: float, error: float, digits: int | None = None) -> str:
    digits = _decimals(error) if digits is None else digits
    return f"{value:.{digits}f} +- {error:.{digits}f}" if error else f"{value:.{digits}f}"


def _decimals(error: float) -> int:
    """Returns the number of decimals that show two digits of an error, at most four."""
    if not error or not np.isfinite(error):
        return 4
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 4))
