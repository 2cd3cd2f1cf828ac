"""Compares two sets of events and finds significant differences.

Numbers per event are compared by a two-sample Kolmogorov-Smirnov test, shapes of spectra and curves
of efficiencies by a chi-squared one, responses and shares by the difference of two Gaussians. The
errors of shapes take the events, not the particles, as independent.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import special, stats

from mlpf_jax.events.validation import observables, survey

_MIN_IN_BIN = 25  # particles on each side
_MIN_EVENTS = 16  # on each side: the scatter between fewer is too small by chance, that of one is 0
_MIN_PAIRS = 25
_SIGNIFICANT = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One quantity in both sets, with standard errors and the p-value of the difference.

    `test` names the test and its statistic. For a spectrum or a curve, the numbers are the means
    per event, or over all bins.
    """

    quantity: str
    first: float
    first_error: float
    second: float
    second_error: float
    test: str
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the p-value is below 0.001."""
        return self.p_value < _SIGNIFICANT


def compare(first: survey.Measurement, second: survey.Measurement) -> list[Difference]:
    """Compares every quantity that both sets have."""
    return [
        *_numbers(first, second),
        *_spectra(first, second),
        *_responses(first, second),
        *_efficiencies(first, second),
        *_confusion(first, second),
    ]


def _numbers(first: survey.Measurement, second: survey.Measurement) -> Iterator[Difference]:
    for name, ours in first.numbers.items():
        theirs = second.numbers.get(name)
        if theirs is None:
            continue
        ks = stats.ks_2samp(ours, theirs)  # with repeated values its p-value is too large
        yield Difference(
            quantity=name,
            first=float(ours.mean()),
            first_error=float(ours.std() / len(ours) ** 0.5),
            second=float(theirs.mean()),
            second_error=float(theirs.std() / len(theirs) ** 0.5),
            test=f"KS {ks.statistic:.3f}",
            p_value=float(ks.pvalue),
        )


def _spectra(first: survey.Measurement, second: survey.Measurement) -> Iterator[Difference]:
    enough = min(first.num_events, second.num_events) >= _MIN_EVENTS
    for name, ours in first.observables.spectra.items():
        theirs = second.observables.spectra.get(name)
        if theirs is None:
            continue
        used = enough & (ours.counts > _MIN_IN_BIN) & (theirs.counts > _MIN_IN_BIN)
        variance = ours.fraction_errors**2 + theirs.fraction_errors**2
        test, p_value = _chi_squared(
            (ours.fractions - theirs.fractions)[used], variance[used], num_fixed=1
        )
        yield Difference(
            quantity=f"shape of {name}",
            first=float(ours.per_event.sum()),
            first_error=ours.total_error,
            second=float(theirs.per_event.sum()),
            second_error=theirs.total_error,
            test=test,
            p_value=p_value,
        )


def _responses(first: survey.Measurement, second: survey.Measurement) -> Iterator[Difference]:
    pairs = [
        (" ".join(key), ours, second.observables.responses[key])
        for key, ours in first.observables.responses.items()
    ]
    if first.jet_response is not None and second.jet_response is not None:
        pairs.append(("jet pT", first.jet_response, second.jet_response))
    for name, ours, theirs in pairs:
        if min(ours.num, theirs.num) < _MIN_PAIRS:
            continue
        yield _gaussian(
            f"response {name}, mean", ours.mean, ours.mean_error, theirs.mean, theirs.mean_error
        )
        yield _gaussian(
            f"response {name}, deviation",
            ours.deviation,
            ours.deviation_error,
            theirs.deviation,
            theirs.deviation_error,
        )


def _efficiencies(first: survey.Measurement, second: survey.Measurement) -> Iterator[Difference]:
    for label in ("efficiencies", "fake_rates"):
        for key, ours in getattr(first.observables, label).items():
            theirs = getattr(second.observables, label)[key]
            used = (ours.all > _MIN_IN_BIN) & (theirs.all > _MIN_IN_BIN)
            found, both = ours.found + theirs.found, ours.all + theirs.all
            used &= (found > 0) & (
                found < both
            )  # bins where none or all are found carry no information
            variance = ours.errors**2 + theirs.errors**2
            test, p_value = _chi_squared((ours.values - theirs.values)[used], variance[used])
            totals = [(c.found.sum(), c.all.sum()) for c in (ours, theirs)]
            shares = [float(found / max(num, 1)) for found, num in totals]
            errors = [observables.share_error(found, num) for found, num in totals]
            yield Difference(
                quantity=f"{label.replace('_', ' ')} {' by '.join(key)}",
                first=shares[0],
                first_error=errors[0],
                second=shares[1],
                second_error=errors[1],
                test=test,
                p_value=p_value,
            )


def _confusion(first: survey.Measurement, second: survey.Measurement) -> Iterator[Difference]:
    counts = first.observables.confusion, second.observables.confusion
    for target, candidate in np.ndindex(counts[0].shape):
        totals = [float(c[target].sum()) for c in counts]
        if min(totals) < _MIN_PAIRS or not (counts[0] + counts[1])[target, candidate]:
            continue
        found = [float(c[target, candidate]) for c in counts]
        shares = [n / total for n, total in zip(found, totals, strict=True)]
        errors = list(map(observables.share_error, found, totals))
        names = observables.CLASSES[target], observables.CLASSES[candidate]
        yield _gaussian(" -> ".join(names), shares[0], errors[0], shares[1], errors[1])


def _chi_squared(
    difference: np.ndarray, variance: np.ndarray, *, num_fixed: int = 0
) -> tuple[str, float]:
    """Returns a text of the test and its p-value; `num_fixed` sums are equal by construction."""
    degrees = len(difference) - num_fixed
    if degrees < 1:
        return "too few", 1.0
    value = float((difference**2 / variance).sum())
    return f"chi2 {value:.1f} / {degrees}", float(special.chdtrc(degrees, value))


def _gaussian(
    quantity: str, first: float, first_error: float, second: float, second_error: float
) -> Difference:
    error = float(np.hypot(first_error, second_error))
    z = (first - second) / error if error else 0.0
    return Difference(
        quantity=quantity,
        first=first,
        first_error=first_error,
        second=second,
        second_error=second_error,
        test=f"z {z:+.1f}",
        p_value=float(special.erfc(abs(z) / 2**0.5)),
    )
