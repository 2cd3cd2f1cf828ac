"""The findings of a study of growth as Markdown."""

from collections.abc import Iterator

from benchmarks.growth import study
from mlpf_jax.stats import power_laws as laws

_CLIFF = 0.5  # by which the exponent between neighbours may exceed the law's


def text(findings: study.Findings) -> str:
    """Returns the table of all sizes, the laws, and what departs from them."""
    lines = [*_rows(findings), "", *_laws(findings)]
    lines += [f"* {value}: not measured: {why}" for value, why in findings.failures.items()]
    if any(run.is_emulated for run in findings.runs):
        lines.append("* virtual devices share one CPU: a test of the program, not of hardware")
    return "\n".join(lines) + "\n"


def cliffs(findings: study.Findings) -> list[str]:
    """Returns where a cost grows much faster from one size to the next than by its law."""
    found = []
    for name in study.COSTS:
        for phase, law in findings.laws.get(name, {}).items():
            for value, local in laws.local_exponents(findings.costs(name, phase)).items():
                if local > law.exponent + _CLIFF:
                    found.append(
                        f"{name}, {phase}: exponent {local:.2f} up to {value}, "
                        f"{law.exponent:.2f} by the law"
                    )
    return found


def _rows(findings: study.Findings) -> Iterator[str]:
    yield (
        f"| {findings.label} | training, events/s | inference, events/s | compile, s (training, "
        "inference) | planned MB per event (training, inference) | peak of the process, MB |"
    )
    yield "|---:|---:|---:|---:|---:|---:|"
    for value in findings.values:
        runs = [run for run in findings.runs if run.value == value]
        if not runs:
            continue
        rates = [_range([r.rates[p] for r in runs if p in r.rates]) for p in study.PHASES]
        others = [
            ", ".join(
                f"{scale * sum(c[value]) / len(c[value]):.4g}"
                for phase in study.PHASES
                if value in (c := findings.costs(name, phase))
            )
            for name, scale in ((study.COSTS[1], 1.0), (study.COSTS[2], 1e-6))
        ]
        peaks = [r.peak_process_bytes for r in runs if r.peak_process_bytes]
        peak = f"{max(peaks) / 1e6:.4g}" if peaks else ""
        yield f"| {value} | {' | '.join([*rates, *others])} | {peak} |"


def _range(values: list[float]) -> str:
    """Returns the mean over runs, and the least and the most if there are several."""
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def _laws(findings: study.Findings) -> Iterator[str]:
    for name, by_phase in findings.laws.items():
        for phase, law in by_phase.items():
            worst = max(law.off, key=lambda size: abs(law.off[size]))
            yield (
                f"* {name}, {phase}: exponent {law.exponent:.3f} ({law.low:.3f} to "
                f"{law.high:.3f} at 95 %), farthest off at {worst}: {100 * law.off[worst]:+.2g} %"
            )
    yield from (f"* cliff: {one}" for one in cliffs(findings))
